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
