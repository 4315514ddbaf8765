"""Sets of rows that share attention: a row names its set, whose first row is the first image of them all."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ..errors import JobError
from ..recipe import SET_FIELDS, Recipe
from ..utils.text import shorten
from .manifest_formats import ManifestRow

SET = "set"
"""Field of a manifest that names the set of a row. A recipe has the first image instead, so that each row of a set is
generated, resumed and reproduced without the others."""

_OWN_FIELDS = ("prompt", "seed", SET)
"""Fields in which the rows of a set may differ."""


def name_first_images(rows: Sequence[ManifestRow], defaults: Mapping[str, object]) -> list[ManifestRow]:
    """Replace the set of each row by the prompt and seed of its first image.

    Args:
        rows: The rows, some of which may name a set.
        defaults: Fields of a recipe for rows that leave them out.

    Returns:
        The rows without sets. A row whose set is not one has an error.
    """
    counts = Counter(str(row.fields[SET]) for row in rows if SET in row.fields)
    firsts: dict[str, Mapping[str, object]] = {}
    found: list[ManifestRow] = []
    for row in rows:
        if SET not in row.fields:
            found.append(row)
            continue
        name = str(row.fields[SET])
        first = firsts.setdefault(name, row.fields)
        error = _find_error(row.fields, first, counts[name])
        found.append(ManifestRow(row.location, _with_first(row.fields, first, defaults), error or row.error))
    return found


def check_set(recipe: Recipe) -> None:
    """Check that the recipe of a row which shares attention names the first image of its set.

    Raises:
        JobError: It names none.
    """
    if recipe.shared is not None and recipe.first_seed is None:
        raise JobError(
            "shared gives the rows of a set the look of its first row, and this row names no set; give all of them "
            f'one name as "{SET}", such as a, or leave shared out.'
        )


def _find_error(fields: Mapping[str, object], first: Mapping[str, object], count: int) -> str | None:
    name = fields[SET]
    if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
        return f"set is {shorten(name)}; give all rows that share attention one name, such as a."
    if given := [field for field in SET_FIELDS[1:] if field in fields]:
        return f"set names the first image, which {' and '.join(given)} would too; leave one of them out."
    if count < 2:
        return (
            f"set {shorten(name)} has one row, and attention is shared by several images; add rows, or leave it out."
        )
    differing = [
        field for field in {**first, **fields} if field not in _OWN_FIELDS and first.get(field) != fields.get(field)
    ]
    if differing:
        return (
            f"{' and '.join(differing)} differ from the first row of set {shorten(name)}; rows that share attention "
            "differ in prompt and seed only."
        )
    return None


def _with_first(
    fields: Mapping[str, object], first: Mapping[str, object], defaults: Mapping[str, object]
) -> dict[str, object]:
    complete = {"shared": "align", **defaults, **first}
    named = {"first_prompt": complete.get("prompt"), "first_seed": complete.get("seed"), "shared": complete["shared"]}
    # What the first row lacks is an error of that row.
    named = named if None not in named.values() else {}
    return {**{name: value for name, value in fields.items() if name != SET}, **named}
