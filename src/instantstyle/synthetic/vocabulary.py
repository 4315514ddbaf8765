"""What the bundled model has words for: a prompt that names none of it gets a picture, not the one meant."""

import re

from . import LAYOUTS, MINI_SCOPE, THINGS, thing_words


def known_things(text: str) -> list[str]:
    """The things mini draws that the text names, one or several of them."""
    words = text.lower()
    return [thing for number, thing in enumerate(MINI_SCOPE.names) if re.search(_one_or_many(number), words)]


def phrases() -> list[str]:
    """A phrase for each thing: what a picture may show."""
    return [thing_words(thing) for thing in range(MINI_SCOPE.things)]


def advice(prompt: str) -> str | None:
    """One line for a prompt that names nothing the bundled model can draw; None for one that does."""
    if known_things(prompt):
        return None
    names = MINI_SCOPE.names
    some = ", ".join(names[:: max(1, len(names) // 8)])
    return f"The model mini knows no word of {prompt!r}; it draws {len(names)} things, among them {some}."


def _one_or_many(number: int) -> str:
    many = thing_words(number, LAYOUTS.index("two")).removeprefix("two ")
    return rf"\b({re.escape(THINGS[number])}|{re.escape(many)})\b"
