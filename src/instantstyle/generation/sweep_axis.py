"""An axis of a sweep: a field of a recipe, and the values that it takes one after another."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from ..errors import JobError, suggest_nearest
from ..recipe import ANIMATION_FIELDS, FIELD_ALIASES, MODEL_FIELDS, Recipe
from ..recipe_types import Reference
from ..utils.text import cut, shorten
from .sources import resolve_source

MAX_VALUES = 50
"""Largest number of values of an axis; more come from a mistyped step of a range."""

EXCLUDED_FIELDS = {
    **dict.fromkeys((*MODEL_FIELDS, "redux_model", "redux_image_encoder"), "one model generates the whole grid"),
    **dict.fromkeys(
        ("image", "strength", "control", "inversion", "image_scale"), "its images start from noise, not from an image"
    ),
    **dict.fromkeys(ANIMATION_FIELDS, "its images are not animations"),
    **dict.fromkeys(("version", "versions"), "a recipe only records it"),
}
"""Fields that cannot be swept, and why."""


@dataclass(frozen=True)
class SweepAxis:
    """A field of a recipe, and its values.

    Attributes:
        field: Name of the field in `Recipe`.
        values: 1 to `MAX_VALUES` values, of a type that the field accepts.

    Raises:
        JobError: There is no such field, it cannot be swept, or the number of values is out of range.
    """

    field: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        _validate_field(self.field)
        if not 0 < len(self.values) <= MAX_VALUES:
            raise JobError(f"{self.display_name} has {len(self.values)} values; give 1 to {MAX_VALUES}.")

    @classmethod
    def parse(cls, text: str) -> "SweepAxis":
        """Parse an axis.

        Args:
            text: `field=first:last:step` for numbers, both ends included, as `scale=0.2:1.4:0.2`; or
                `field=value,value` in the form of a line of CSV, as `blocks=style,all`. The field may be
                given by a short name in `FIELD_ALIASES`. An empty value means none.

        Raises:
            JobError: The text has another form, or the axis is not valid.
            ImageError: A file does not exist.
            StyleError: The library has no style of that name.
        """
        name, equals, values = text.partition("=")
        if not equals:
            raise JobError(
                f"An axis is {shorten(text)}; give a field and its values: scale=0.2:1.4:0.2, or blocks=style,all."
            )
        name = name.strip().replace("-", "_")
        field = FIELD_ALIASES.get(name, name)
        _validate_field(field)
        return cls(field, tuple(_parse_value(field, value) for value in _split_values(field, values)))

    @property
    def display_name(self) -> str:
        """The short name of the field, if it has one."""
        return next((alias for alias, field in FIELD_ALIASES.items() if field == self.field), self.field)

    def label(self, recipe: Recipe) -> str:
        """Format the value that a recipe has on this axis, for example `scale 0.2`."""
        return f"{self.display_name} {_format_value(getattr(recipe, self.field))}"


def _validate_field(field: str) -> None:
    known = [name for name in Recipe.model_fields if name not in EXCLUDED_FIELDS]
    short = {name: alias for alias, name in FIELD_ALIASES.items()}
    names = [short.get(name, name) for name in known]
    if field in EXCLUDED_FIELDS:
        raise JobError(f"A sweep cannot vary {field}: {EXCLUDED_FIELDS[field]}. It can vary {', '.join(names)}.")
    if field not in known:
        # Short names first: they are the names of the options.
        containing = next((f" Did you mean {name}?" for name in [*names, *known] if field and field in name), "")
        nearest = containing or suggest_nearest(field, [*names, *known])
        raise JobError(f"Recipe has no field {cut(field, 80)}; a sweep can vary {', '.join(names)}.{nearest}")


def _split_values(field: str, values: str) -> list[str]:
    """Split the values as they are written, without duplicates."""
    if ":" in values and {int, float} & set(_field_types(field)):
        return _expand_range(values)
    # As a line of CSV, because a quoted prompt may contain commas.
    try:
        [line] = csv.reader([re.sub(r"[\r\n]+", " ", values)], skipinitialspace=True)
    except csv.Error as error:
        raise JobError(f"The values {shorten(values)} are not a line of CSV: {error}.") from None
    return list(dict.fromkeys(value.strip() for value in line or [""]))


def _expand_range(text: str) -> list[str]:
    """Expand `first:last:step`, both ends included. Decimals, because floats accumulate rounding errors."""
    try:
        first, last, step = map(Decimal, text.split(":"))
        steps = (last - first) / step
        # The exponents are limited because 1e999999 is a short text for a number of a million digits.
        valid = steps.is_finite() and steps >= 0 and max(abs(x.adjusted()) for x in (first, last, step)) < 30
    except (ArithmeticError, ValueError):
        raise _invalid_range(text) from None
    if not valid:
        raise _invalid_range(text)
    if steps >= MAX_VALUES:
        raise JobError(f"The range {shorten(text)} has more than {MAX_VALUES} values; take larger steps.")
    return [f"{first + index * step:f}" for index in range(int(steps) + 1)]


def _invalid_range(text: str) -> JobError:
    return JobError(f"A range is {shorten(text)}; give first:last:step, such as 0.2:1.4:0.2.")


def _parse_value(field: str, text: str) -> object:
    """Convert a value to what the recipe accepts; empty text means none, no reference or no content."""
    types = _field_types(field)
    kind = types[0]
    if not text and type(None) in types:
        return None
    if kind is Reference:
        return resolve_source(text).as_reference()
    if get_origin(kind) is not tuple:
        return text
    item, *rest = get_args(kind)
    if not text and rest == [...]:
        return ()
    if rest != [...] or float in _flatten_type(item):
        return tuple(text.split(":"))
    return (resolve_source(text).as_reference() if item is Reference else text,)


def _field_types(field: str) -> list[object]:
    """List the alternatives of a field's type without annotations: float and NoneType of `Weight | None`."""
    return list(_flatten_type(Recipe.model_fields[field].annotation))


def _flatten_type(annotation: object) -> Iterator[object]:
    if get_origin(annotation) is Annotated:
        yield from _flatten_type(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for alternative in get_args(annotation):
            yield from _flatten_type(alternative)
    else:
        yield annotation


def _format_value(value: object) -> str:
    """Format a field's value in few words."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Reference):
        return Path(value.name).name
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_format_value(weight)}" for name, weight in value.items())
    if isinstance(value, tuple):
        separator = ":" if all(isinstance(item, float) for item in value) else " + "
        return separator.join(map(_format_value, value)) or "–"
    return "–" if value in (None, "") else str(value)
