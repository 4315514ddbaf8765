"""How shapes and types are checked while the tests run: beartype, on all that it can take."""

from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

# As type checkers read annotations: an int will do for a float.
_TOWER = BeartypeConf(is_pep484_tower=True)


def checked(thing: Any) -> Any:
    """Checked, unless it returns `typing.Self`, which beartype takes only from a class decorated whole."""
    try:
        return beartype(thing, conf=_TOWER)
    except BeartypeDecorHintPep673Exception:
        return thing
