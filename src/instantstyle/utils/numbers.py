"""Numbers that a caller passes, of Python or numpy; True and False are none."""

from math import isfinite
from numbers import Integral, Real


def is_finite_number(value: object) -> bool:
    """Whether a value is a finite number."""
    # numpy's booleans are not registered as numbers.
    return not isinstance(value, bool) and isinstance(value, Real) and isfinite(value)


def is_whole_number(value: object, at_least: int) -> bool:
    """Whether a value is an integer that is not less than a bound."""
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= at_least
