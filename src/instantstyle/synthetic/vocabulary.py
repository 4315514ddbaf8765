"""The words that the bundled model mini understands, for hints on prompts that contain none of them."""

import re

from .captions import COLOURS, describe_thing
from .layouts import LAYOUTS
from .looks import FILLS, GROUNDS, OUTLINES
from .scenes import MINI_SCOPE
from .things import THINGS

EXAMPLE_PROMPT = "a fish on the left, hatched with bold outline, red on striped white"
"""A prompt of the form of the captions that mini was trained on."""


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


def list_known_words() -> dict[str, list[str]]:
    """List all words of mini's training captions, by what they describe."""
    thing = describe_thing(0)
    places = [describe_thing(0, number) for number, weight in enumerate(MINI_SCOPE.layouts) if weight]
    return {
        "things": list(MINI_SCOPE.thing_names),
        "places": [place.replace(thing, "…").replace("two rockets", "two …") for place in places],
        "fills": list(FILLS),
        "outlines": list(OUTLINES),
        "grounds": list(GROUNDS),
        "colours": list(COLOURS),
    }


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
