"""`StrictModel`: pydantic's model with errors of this package, in one line."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Self, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ..errors import JobError
from .parsed_values import find_faults
from .text import cut, shorten

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_ERRORS = 10
"""Largest number of errors of a recipe that a message describes."""


_IS_NESTED: ContextVar[bool] = ContextVar("_IS_NESTED", default=False)
"""Whether a model is being validated, so that those in it leave their errors to it."""


class StrictModel(BaseModel):
    """A frozen model without unknown fields, whose validation errors are one `JobError` in one line.

    Texts must be Unicode without NUL characters, integers have at most 64 bits, booleans are no numbers, and values
    are few and shallow: parsers of JSON and YAML pass on others, which files and tokenizers cannot hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: ClassVar[str] = ""
    """What messages call the model; by default the name of its class."""

    aliases: ClassVar[Mapping[str, str]] = {}
    """Names by which users may call fields elsewhere, for hints on unknown fields."""

    @model_validator(mode="wrap")
    @classmethod
    def _raise_job_error(cls, fields: object, validate: Callable[[object], Self]) -> Self:
        if _IS_NESTED.get():
            return validate(fields)
        label = cls.label or cls.__name__
        if faults := list(islice(find_faults(fields, _list_flags(cls)), MAX_ERRORS)):
            raise JobError(f"{label} is invalid: {'; '.join(faults)}.")
        nested = _IS_NESTED.set(True)
        try:
            return validate(fields)
        except ValidationError as error:
            errors = _merge_alternatives(error.errors(include_url=False), fields)
            details = "; ".join(
                _describe_error(each, _list_known(cls, each["loc"]), cls.aliases) for each in errors[:MAX_ERRORS]
            )
            more = f"; and {len(errors) - MAX_ERRORS} more" if len(errors) > MAX_ERRORS else ""
            invalid = dict.fromkeys(str(each["loc"][0]) for each in errors if each["loc"])
            raise JobError(f"{label} is invalid: {details}{more}.", fields=invalid) from None
        finally:
            _IS_NESTED.reset(nested)


@cache
def _list_flags(model: type[StrictModel]) -> tuple[str, ...]:
    """List the fields of a model and of the models in it that hold a boolean, by `field` and `field.field`."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        names += [name] if field.annotation is bool else []
        names += [f"{name}.{each}" for part in _list_models(field.annotation) for each in _list_flags(part)]
    return tuple(names)


def _list_models(annotation: object) -> list[type[StrictModel]]:
    """List the models among the types that an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _list_models(part)]


def _list_known(model: type[StrictModel], place: tuple[int | str, ...]) -> list[str]:
    """List the fields beside a place in a model: its own, or those of the models in one of them."""
    field = model.model_fields.get(str(place[0])) if len(place) > 1 else None
    if field is None:
        return list(model.model_fields)
    return [name for part in _list_models(field.annotation) for name in part.model_fields]


def _merge_alternatives(errors: "Sequence[ErrorDetails]", fields: object) -> "list[ErrorDetails]":
    """Describe a value that fits no alternative of its type by one error for each place in it.

    pydantic reports every alternative, and puts its name into the place: `blocks.tuple[str, ...]`. Of errors of
    alternatives those that are deepest in the value are kept, as its shape fits these alternatives best.

    Args:
        errors: Errors of pydantic.
        fields: What was validated.
    """
    located = [(_find_place(error, fields), error) for error in errors]
    alternatives = [place for place, error in located if place != error["loc"]]
    deepest = {
        place for place in alternatives if not any(place == each[: len(place)] != each for each in alternatives)
    }
    merged: dict[tuple[int | str, ...], ErrorDetails] = {}
    for place, error in located:
        if place != error["loc"] and place not in deepest:
            continue
        rule = error["msg"].removeprefix("Input should be ")
        known = merged.get(place)
        merged[place] = {**error, "loc": place, "msg": f"{known['msg']} or {rule}" if known else error["msg"]}
    return [*merged.values()]


def _find_place(error: "ErrorDetails", fields: object) -> tuple[int | str, ...]:
    """Leave the names of alternatives, which are in no value, out of the place of an error."""
    first, *parts = error["loc"] or ("",)
    place, value = [first], cast("Mapping[object, object]", fields).get(first) if isinstance(fields, Mapping) else None
    for number, part in enumerate(parts, start=1):
        is_missing = error["type"] == "missing" and number == len(parts)
        if isinstance(value, list | tuple):
            values: Mapping[object, object] = dict(enumerate(cast("Sequence[object]", value)))
        else:
            values = cast("Mapping[object, object]", value) if isinstance(value, Mapping) else {}
        if part in values or is_missing:
            place.append(part)
            value = values.get(part)
    return tuple(place) if error["loc"] else ()


def _describe_error(error: "ErrorDetails", known: list[str], aliases: Mapping[str, str]) -> str:
    field = cut(".".join(str(part) for part in error["loc"]), 80)
    if error["type"] == "extra_forbidden":
        # Short names are those of options and sweeps; files and requests have the names of fields.
        aliases = {alias: name for alias, name in aliases.items() if name in known}
        name = str(error["loc"][-1])
        near = [aliases[name]] if name in aliases else get_close_matches(name, [*known, *aliases], n=1)
        return f"there is no field {field}{f' (perhaps {aliases.get(near[0], near[0])})' if near else ''}"
    if error["type"] == "missing":
        return f"{field} is missing"
    rule = error["msg"].removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ")
    return f"{field} is {shorten(error['input'])}, {rule}{_suggest_literal(error)}" if field else rule


def _suggest_literal(error: "ErrorDetails") -> str:
    """Suggest the allowed word that is most similar to one that is none of them; empty if none is."""
    if error["type"] != "literal_error" or not isinstance(error["input"], str):
        return ""
    near = get_close_matches(error["input"], re.findall("'([^']*)'", error.get("ctx", {}).get("expected", "")), n=1)
    return f" (perhaps {near[0]})" if near else ""
