"""Everything a visitor can get wrong, as types.

InstantStyleError
├── CheckpointError   an adapter or encoder file that cannot serve
├── BlockError        a block, role or weight that the network does not have
├── StyleError        a style that cannot be made, read or applied
├── ImageError        a reference picture that cannot be read
├── ModelError        a model that cannot be found or loaded
├── JobError          a piece of work that cannot be begun or finished
└── MissingExtra      an optional part that is not installed

A message says, in one line: what, where, what was found, what is legal, what to do next.
"""

from difflib import get_close_matches


class InstantStyleError(Exception):
    """Root of the family: `except InstantStyleError` catches all that a visitor can cause."""


class CheckpointError(InstantStyleError):
    """An adapter or encoder file that cannot serve; names every fault at once."""


class BlockError(InstantStyleError):
    """A block, role or weight that the network does not have."""


class StyleError(InstantStyleError):
    """A style that cannot be made, read or applied."""


class ImageError(InstantStyleError):
    """A reference picture that cannot be read."""


class ModelError(InstantStyleError):
    """A model that cannot be found or loaded."""


class JobError(InstantStyleError):
    """A piece of work that cannot be begun or finished."""


class MissingExtra(InstantStyleError):
    """An optional part that is not installed; the message holds the install line."""


def did_you_mean(word: str, known: list[str]) -> str:
    """' Did you mean up_blocks.0.attentions.1?' or nothing: the nearest legal word, as a sentence."""
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""
