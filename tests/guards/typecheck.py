"""How shapes and types are checked while the tests run: beartype, on all that it can take."""

from typing import Any

from beartype import beartype
from beartype.roar import BeartypeDecorHintPep673Exception


def checked(thing: Any) -> Any:
    """Checked, unless it returns `typing.Self`, which beartype takes only from a class decorated whole."""
    try:
        return beartype(thing)
    except BeartypeDecorHintPep673Exception:
        return thing
