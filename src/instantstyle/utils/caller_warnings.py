"""Warnings that point at the line of the caller's own code, however deep in this package they arise."""

import sys
import warnings
from pathlib import Path

PACKAGE = str(Path(__file__).parents[1])

_WRAPPERS = ("jaxtyping", "<@beartype", "contextlib")
"""Parts of the file names of frames between two of this package: checks of types, and `with` blocks."""


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the innermost line of the stack that is outside of this package.

    Args:
        message: The text.
        category: Its class.
    """
    level, frame = 1, sys._getframe()  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and _is_own(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_own(file: str) -> bool:
    return file.startswith(PACKAGE) or any(part in file for part in _WRAPPERS)
