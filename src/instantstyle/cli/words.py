"""`instantstyle words`: the words that the bundled model mini knows."""

from textwrap import fill

from . import options
from .console import print_json

EXAMPLES = ("instantstyle words", 'instantstyle generate "a fish, flat with neon outline, green on plain black"')


def run(json: options.Json = False) -> None:
    """List the words that the bundled model mini knows; it ignores all others.

    A prompt names a thing, and optionally where it is and how it looks.
    """
    from ..synthetic.vocabulary import EXAMPLE_PROMPT, list_known_words

    words = list_known_words()
    if json:
        print_json(words)
        return
    for title, names in words.items():
        print(fill(f"{title} ({len(names)}): {', '.join(names)}", width=100, subsequent_indent="  "))
    print(f"for example: {EXAMPLE_PROMPT}")
