"""Warnings that point at the line of the caller's own code, however deep in this package they arise."""

import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

PACKAGE = str(Path(__file__).parents[1])

_WRAPPERS = ("jaxtyping", "<@beartype", "contextlib")
"""Parts of the file names of frames between two of this package: checks of types, and `with` blocks."""


_COLLECTED: ContextVar[list[str] | None] = ContextVar("collected warnings", default=None)


@contextmanager
def collect_warnings() -> Generator[list[str]]:
    """Collect the texts of the warnings that arise in this thread inside the `with` block, beside warning of them.

    Warnings of Python are of the whole process: `warnings.catch_warnings` cannot tell to which thread they belong.

    Yields:
        The texts in order, each as often as it arises.
    """
    collected: list[str] = []
    token = _COLLECTED.set(collected)
    try:
        yield collected
    finally:
        _COLLECTED.reset(token)


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the innermost line of the stack that is outside of this package.

    Args:
        message: The text.
        category: Its class.
    """
    if (collected := _COLLECTED.get()) is not None:
        collected.append(message)
    level, frame = 1, sys._getframe()  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and _is_own(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_own(file: str) -> bool:
    return file.startswith(PACKAGE) or any(part in file for part in _WRAPPERS)
