"""Numbers that a caller passes, of Python or numpy; True and False are none."""

from collections.abc import Iterable, Mapping, Set
from math import isfinite
from numbers import Integral, Real
from typing import Any, cast


def is_finite_number(value: object) -> bool:
    """Whether a value is a finite number, also as a float."""
    # numpy's booleans are not registered as numbers.
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def is_whole_number(value: object, at_least: int) -> bool:
    """Whether a value is an integer that is not less than a bound."""
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= at_least


def read_numbers(values: object) -> list[float] | None:
    """Read several numbers in order.

    Args:
        values: A list, a tuple, an iterator, or an array or tensor with one axis.

    Returns:
        The numbers as floats; None where the values are something else, such as text or a set, or one of them is not
        a finite number.
    """
    if hasattr(values, "tolist"):
        values = cast(Any, values).tolist()
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | bytearray | memoryview | Mapping | Set):
        return None
    numbers = list(cast("Iterable[Any]", values))
    return list(map(float, numbers)) if all(map(is_finite_number, numbers)) else None
