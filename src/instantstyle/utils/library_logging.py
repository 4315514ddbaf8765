"""What diffusers and transformers print of their own."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def hide_warnings(logging: Any) -> Generator[None]:
    """Hide the warnings of a library inside the `with` block.

    Args:
        logging: `diffusers.utils.logging` or `transformers.utils.logging`.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


@contextmanager
def hide_progress_bars() -> Generator[None]:
    """Hide the progress bars with which diffusers and transformers load a model, inside the `with` block."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries: tuple[Any, ...] = (diffusers_logging, transformers_logging)
    enabled = [library for library in libraries if library.is_progress_bar_enabled()]
    for library in enabled:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in enabled:
            library.enable_progress_bar()
