"""Exceptions that a caller or user can cause.

InstantStyleError
├── CheckpointError   an adapter or encoder file is not valid or does not fit the network
├── BlockError        a block, role or weight does not exist in the network
├── StyleError        a style cannot be computed, read or applied
├── ImageError        an image cannot be read
├── ModelError        a model cannot be found or loaded
├── JobError          a job cannot be started or finished
└── MissingExtra      an optional dependency is not installed

A message states in one line what failed, where, the value found, the values allowed and the next step.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class InstantStyleError(Exception):
    """Base class: `except InstantStyleError` catches every error that a caller or user can cause."""

    def __init__(self, *args: object, fields: Iterable[str] = ()) -> None:
        """
        Args:
            args: The message.
            fields: Names of the fields of a recipe or request that are not valid, where they are known.
        """
        super().__init__(*args)
        self.fields = tuple(fields)


class CheckpointError(InstantStyleError):
    """An adapter or encoder file is not valid or does not fit the network; the message lists all problems."""


class BlockError(InstantStyleError):
    """A block, role or weight does not exist in the network."""


class StyleError(InstantStyleError):
    """A style cannot be computed, read or applied."""


class ImageError(InstantStyleError):
    """An image cannot be read."""


class ModelError(InstantStyleError):
    """A model cannot be found or loaded."""


class JobError(InstantStyleError):
    """A job cannot be started or finished."""


class MissingExtra(InstantStyleError):
    """An optional dependency is not installed; the message contains the command that installs it."""


class RequestWarning(UserWarning):
    """What was requested is generated, but probably not as intended."""


class PromptWarning(RequestWarning):
    """A prompt, or a part of it, has no effect."""


class ReferenceWarning(RequestWarning):
    """A reference image has nothing of what is to be taken from it."""


class StepWarning(RequestWarning):
    """A part of the steps holds none of the steps of a call, so that what is to act there does not."""


class SizeWarning(RequestWarning):
    """An image has far more or fewer pixels than those that its model was trained on."""


def suggest_nearest(word: str, known: Iterable[str]) -> str:
    """Suggest the allowed word that is most similar to an unknown one, for the end of an error message.

    Args:
        word: The unknown word.
        known: The allowed words.

    Returns:
        `" Did you mean up_blocks.0.attentions.1?"` with its leading space, or an empty string if no word
        reaches a `difflib` similarity of 0.5.
    """
    nearest = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {nearest[0]}?" if nearest else ""
