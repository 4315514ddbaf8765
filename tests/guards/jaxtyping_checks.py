"""Run-time checks of shapes and types while the tests run: beartype, on everything that it can decorate.

`warn_caller` skips the frames of this file by its name, as those of jaxtyping itself.
"""

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any, cast, get_args, get_type_hints

import jaxtyping
from beartype import BeartypeConf, FrozenDict, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

_DECORATED: set[CodeType] = set()
"""Bodies of functions inside functions that have been decorated."""

_with_shapes = jaxtyping.jaxtyped


def checked(function: Any) -> Any:
    """Decorate unless it returns `Self`, which beartype accepts only on a class decorated as a whole."""
    try:
        return cast(Any, beartype)(function, conf=_configuration())
    except BeartypeDecorHintPep673Exception:
        return function


def jaxtyped(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the decorator of a function or class that the import hook of jaxtyping inserts everywhere."""
    return functools.partial(_decorate, typechecker=typechecker)


def _decorate(decorated: Any, typechecker: Callable[[Any], Any]) -> Any:
    """Decorate with jaxtyping where an annotation has a shape, else with beartype alone.

    jaxtyping's own decorator binds the arguments in Python to remember sizes, in each call of every function. That is
    most of the time of a small function, and few annotations have a shape.

    A function inside a function is made again in each call of that one, and only its first one is checked: to decorate
    takes milliseconds, and attention layers make functions at every step.
    """
    if inspect.isclass(decorated):
        if dataclasses.is_dataclass(decorated) and not hasattr(decorated.__init__, "__wrapped__"):
            setattr(decorated, "__init__", _decorate(decorated.__init__, typechecker))  # noqa: B010
        return decorated
    if "<locals>" in decorated.__qualname__:
        if decorated.__code__ in _DECORATED:
            return decorated
        _DECORATED.add(decorated.__code__)
    hints = {name: _resolve(hint, decorated.__globals__) for name, hint in decorated.__annotations__.items()}
    if any(map(_has_shape, hints.values())):
        return _with_shapes(decorated, typechecker=typechecker)
    return _without_shapes(decorated, hints, typechecker)


def _resolve(hint: object, names: dict[str, Any]) -> Any:
    """Evaluate the strings in an annotation; a name that is not defined, or not yet, is any type, as in jaxtyping."""
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"hint": hint}), names, include_extras=True)["hint"]
    except Exception:
        return Any


def _has_shape(hint: object) -> bool:
    if isinstance(hint, list):
        return any(map(_has_shape, hint))
    is_array = inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray)
    return is_array or any(map(_has_shape, get_args(hint)))


def _without_shapes(function: Any, hints: dict[str, Any], typechecker: Callable[[Any], Any]) -> Any:
    """Check arguments and result by a copy of the function, whose own annotations stay as they are written."""
    names = function.__globals__, function.__name__, function.__defaults__, function.__closure__
    copied = FunctionType(function.__code__, *names)
    copied.__kwdefaults__, copied.__annotations__ = function.__kwdefaults__, hints
    copied.__qualname__, copied.__module__, copied.__doc__ = function.__qualname__, function.__module__, None
    guarded = typechecker(copied)
    if guarded is copied:
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return (function if jaxtyping.config.jaxtyping_disable else guarded)(*args, **kwargs)

    return call


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
        violation_type=jaxtyping.TypeCheckError,
        hint_overrides=FrozenDict({hint: other for hint, other in overrides.items() if hint is not None}),
    )


# The decorator that jaxtyping's import hook looks up by this name for every function.
setattr(jaxtyping, "jaxtyped", jaxtyped)  # noqa: B010
