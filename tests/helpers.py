"""Helpers that several tests use."""

import time
from collections.abc import Callable

from torch import Generator

from instantstyle import InstantStyleError


def seeded_generator(seed: int) -> Generator:
    """Return a CPU generator with a seed."""
    return Generator().manual_seed(seed)


def find_offence(action: Callable[[], str | None], *, seconds: float, message: int, hidden: str = "") -> str | None:
    """Run an action on changed input, and describe what should not have happened.

    Args:
        action: Describes an offence itself, or raises.
        seconds: Largest processor time.
        message: Largest number of characters of a typed error.
        hidden: A part of error messages that does not count, such as the folder of the test.
    """
    begin, offence = time.process_time(), None
    try:
        offence = action()
    except InstantStyleError as error:
        text = str(error).replace(hidden, "")
        if "\n" in text or len(text) > message:
            offence = f"{type(error).__name__} of {len(text)} characters: {text[:200]!r}"
    except BaseException as error:
        offence = f"{type(error).__name__}: {str(error)[:300]}"
    taken = time.process_time() - begin
    return offence or (f"{taken:.0f} s" if taken > seconds else None)
