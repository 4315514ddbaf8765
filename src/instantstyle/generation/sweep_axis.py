"""An axis of a sweep: a field of a recipe, and the values that it takes one after another."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from ..core.style_library import find_style_file
from ..errors import JobError, suggest_nearest
from ..imaging.loading import file_sha256
from ..recipe import FIELD_ALIASES, Recipe, Reference

MOST = 50  # values of an axis: more is a slip of the pen in a range's step

FIXED = {
    **dict.fromkeys(("model", "adapter", "image_encoder"), "one model draws the whole grid"),
    **dict.fromkeys(("image", "strength", "control"), "its pictures begin from words and not from a picture"),
    **dict.fromkeys(("version", "versions", "scheduler"), "a recipe only notes it"),
}
"""Fields that no sweep goes over, and why."""


@dataclass(frozen=True)
class SweepAxis:
    """A field of a recipe, and the values that it takes one after another, as `Recipe` takes them."""

    field: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        _check_field(self.field)
        if not 0 < len(self.values) <= MOST:
            raise JobError(f"{self.said} has {len(self.values)} values to take; give 1 to {MOST}.")

    @classmethod
    def parse(cls, text: str) -> "SweepAxis":
        """`scale=0.2:1.4:0.2`, from first to last by steps, or `blocks=style,all`, one by one."""
        said, equals, values = text.partition("=")
        if not equals:
            raise JobError(
                f"An axis is {text!r}; give a field and its values: scale=0.2:1.4:0.2, or blocks=style,all."
            )
        word = said.strip().replace("-", "_")
        field = FIELD_ALIASES.get(word, word)
        _check_field(field)
        return cls(field, tuple(_value(field, word) for word in _words(field, values)))

    @property
    def said(self) -> str:
        """The field's name, or the option's shorter one."""
        return next((short for short, field in FIELD_ALIASES.items() if field == self.field), self.field)

    def label(self, recipe: Recipe) -> str:
        """`scale 0.2`: what the field is in this recipe."""
        return f"{self.said} {_shown(getattr(recipe, self.field))}"


def _check_field(field: str) -> None:
    free = [name for name in Recipe.model_fields if name not in FIXED]
    if field in FIXED:
        raise JobError(f"A sweep cannot go over {field}: {FIXED[field]}. It can over {', '.join(free)}.")
    if field not in free:
        inside = next((f" Did you mean {name}?" for name in free if field and field in name), "")
        nearest = inside or suggest_nearest(field, [*free, *FIELD_ALIASES])
        raise JobError(f"Recipe has no field {field}; a sweep can go over {', '.join(free)}.{nearest}")


def _words(field: str, values: str) -> list[str]:
    """The values as they are written, each once."""
    if ":" in values and {int, float} & set(_kinds(field)):
        return _range(values)
    # As a line of CSV: a prompt may hold commas between quotes.
    [line] = csv.reader([" ".join(values.splitlines())], skipinitialspace=True)
    return list(dict.fromkeys(word.strip() for word in line or [""]))


def _range(text: str) -> list[str]:
    """From first to last by steps, both included; in decimals, as floats drift: 0.1 + 0.2 is not 0.3."""
    try:
        first, last, step = map(Decimal, text.split(":"))
        steps = (last - first) / step
        fits = steps.is_finite() and steps >= 0
    except (ArithmeticError, ValueError):
        fits = False
    if not fits:
        raise JobError(f"A range is {text!r}; give first:last:step, such as 0.2:1.4:0.2.")
    if steps >= MOST:
        raise JobError(
            f"The range {text!r} has more than the {MOST} values that make sense; take larger steps."
        )
    return [f"{first + place * step:f}" for place in range(int(steps) + 1)]


def _value(field: str, word: str) -> Any:
    """As the recipe takes it; an empty word is none of it: no reference, no content, no mask."""
    kind = _kinds(field)[0]
    if kind is Reference:
        return _reference(word) if word else None
    if get_origin(kind) is not tuple:
        return word
    one, *others = get_args(kind)
    if others != [...]:
        return tuple(word.split(":")) if word else None
    if not word:
        return ()
    return (_reference(word) if one is Reference else word,)


def _reference(name: str) -> dict[str, Any]:
    return {"name": name, "sha256": file_sha256(find_style_file(name) or name)}


def _kinds(field: str) -> list[Any]:
    """The types of which a recipe's field may be: of `Amount | None` float, and None's."""
    return list(_leaves(Recipe.model_fields[field].annotation))


def _leaves(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Annotated:
        yield from _leaves(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for part in get_args(kind):
            yield from _leaves(part)
    else:
        yield kind


def _shown(value: Any) -> str:
    """A field's value in few words."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Reference):
        return Path(value.name).name
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(weight)}" for name, weight in value.items())
    if isinstance(value, tuple):
        between = ":" if all(isinstance(one, float) for one in value) else " + "
        return between.join(map(_shown, value)) or "–"
    return "–" if value in (None, "") else str(value)
