"""Run-time checks of shapes and types while the tests run: beartype, on everything that it can decorate."""

import sys
from types import CodeType
from typing import Any, cast

from beartype import BeartypeConf, FrozenDict, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

_DECORATED: set[CodeType] = set()
"""Bodies of functions inside functions that have been decorated."""


def checked(function: Any) -> Any:
    """Decorate unless it returns `Self`, which beartype accepts only on a class decorated as a whole.

    A function inside a function is made again in each call of that one, and only its first one is checked: to decorate
    takes milliseconds, and attention layers make functions at every step.
    """
    code = getattr(function, "__code__", None)
    if code is not None and "<locals>" in function.__qualname__:
        if code in _DECORATED:
            return function
        _DECORATED.add(code)
    try:
        return cast(Any, beartype)(function, conf=_configuration())
    except BeartypeDecorHintPep673Exception:
        return function


def _configuration() -> BeartypeConf:
    """Accept an int for a float, as type checkers do, any object for a protocol, and any string for a choice.

    diffusers registers a pipeline's components at run time, and tests pass a part of them. Choices
    (`Literal`s) are validated by the code itself, whose errors tests expect. pyright checks both.
    """
    # Not imported here: the imports would need this module.
    protocols, types = (sys.modules.get(f"instantstyle.{name}") for name in ("core.protocols", "recipe_types"))
    names = ("AttentionModule", "ContentEncoder", "Pipeline", "Scheduler", "Network")
    overrides = {getattr(protocols, name, None): object for name in names}
    overrides |= {getattr(types, name, None): str for name in ("Combine", "Crop", "Removal")}
    return BeartypeConf(
        is_pep484_tower=True,
        hint_overrides=FrozenDict({hint: other for hint, other in overrides.items() if hint is not None}),
    )
