"""The words that the bundled model mini understands, for hints on prompts that contain none of them."""

import re

from . import LAYOUTS, MINI_SCOPE, THINGS, describe_thing


def find_known_things(text: str) -> list[str]:
    """Find the thing classes of mini that a text names, in singular or plural.

    Args:
        text: For example a prompt; case does not matter.

    Returns:
        Names of thing classes in the order of `THINGS`.
    """
    words = text.lower()
    return [
        thing for number, thing in enumerate(MINI_SCOPE.thing_names) if re.search(_singular_or_plural(number), words)
    ]


def list_thing_phrases() -> list[str]:
    """List a phrase such as 'a rocket' for each thing class of mini."""
    return [describe_thing(thing) for thing in range(MINI_SCOPE.things)]


def explain_unknown_prompt(prompt: str) -> str | None:
    """Write a hint for a prompt that names no thing class of mini.

    Args:
        prompt: The prompt to check.

    Returns:
        One line with examples of known things, or None for a prompt that names at least one.
    """
    if find_known_things(prompt):
        return None
    names = MINI_SCOPE.thing_names
    some = ", ".join(names[:: max(1, len(names) // 8)])
    return f"The model mini knows no word of {prompt!r}; it can render {len(names)} things, among them {some}."


def _singular_or_plural(number: int) -> str:
    plural = describe_thing(number, LAYOUTS.index("two")).removeprefix("two ")
    return rf"\b({re.escape(THINGS[number])}|{re.escape(plural)})\b"
