"""A grid of pictures over one field of a recipe, or two; all else is equal in every cell, the seed too."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..errors import JobError
from ..imaging.grid import TILE, contact_sheet
from ..imaging.png_metadata import read_text, save_png
from ..recipe import Recipe
from .generate import PreparedRecipe, prepare
from .sweep_axis import SweepAxis

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle

KEY = "instantstyle-sweep"
"""PNG text key of the grid as JSON: base recipe and axes."""

VERSION = 1
SIDE = 256  # px: a picture's longer side in the grid, at most

OF_A_STYLE = (
    *("negative_references", "combine", "crop", "content", "content_scale", "removal"),
    *("blocks", "scale", "mask", "start", "end"),
)
"""Fields that change nothing where there is no reference."""

OnPicture = Callable[[int, int], None]
"""Told after each picture: pictures done, pictures in all."""


@dataclass(frozen=True)
class Grid:
    """A recipe for each cell: the base one but for the axes' fields; `y` goes down, `x` across."""

    base: Recipe
    x: SweepAxis
    y: SweepAxis | None = None

    def __post_init__(self) -> None:
        if self.y and self.x.field == self.y.field:
            raise JobError(f"Both axes go over {self.x.said}; give --y another field, or leave it out.")
        idle = OF_A_STYLE if not any(map(_is_styled, self.cells)) else ()
        for axis in self.axes:
            if axis.field in idle:
                raise JobError(f"{axis.said} acts on a reference, and there is none; add --style PICTURE.")

    @property
    def axes(self) -> tuple[SweepAxis, ...]:
        return (self.x, self.y) if self.y else (self.x,)

    @cached_property
    def rows(self) -> list[list[Recipe]]:
        """The recipes as they stand; `JobError` for a value that its field does not take."""
        down = [{self.y.field: value} for value in self.y.values] if self.y else [{}]
        return [[self.base.but(**{**row, self.x.field: value}) for value in self.x.values] for row in down]

    @property
    def cells(self) -> list[Recipe]:
        return [recipe for row in self.rows for recipe in row]

    @property
    def columns(self) -> list[str]:
        """What stands above them."""
        return [self.x.label(recipe) for recipe in self.rows[0]]

    @property
    def lines(self) -> list[str]:
        """What stands before the rows; before a single one, what all of it shows."""
        if self.y:
            return [self.y.label(row[0]) for row in self.rows]
        return [f"seed {self.base.seed}" if self.x.field == "prompt" else self.base.prompt]

    def to_json(self) -> str:
        """Base recipe and axes, complete."""
        across, down = self.rows[0], [row[0] for row in self.rows]
        axes = {"x": _told(self.x, across), "y": _told(self.y, down) if self.y else None}
        return json.dumps({"version": VERSION, "recipe": self.base.model_dump(mode="json"), **axes})

    @classmethod
    def from_json(cls, text: str) -> "Grid":
        """The grid that `to_json` wrote."""
        try:
            held = json.loads(text)
            if held["version"] != VERSION:
                raise JobError(f"This grid is of version {held['version']}, not {VERSION}.")
            y = _axis(held["y"]) if held["y"] else None
            return cls(Recipe.model_validate(held["recipe"]), _axis(held["x"]), y)
        except (ValueError, LookupError, TypeError) as fault:
            raise JobError(f"This is no grid's JSON: {fault}.") from None


def sweep(
    styled: "InstantStyle", grid: Grid, on_picture: OnPicture | None = None
) -> tuple[Image.Image, Grid]:
    """The labelled grid; and what was drawn: the model's own choices in its base, blocks by their names.

    What cells have in common is made ready once, and a reference seen once. Each is drawn by itself, so that
    its picture is the one that its recipe makes anywhere else.
    """
    ready = _with_blocks_named(grid, styled)
    for recipe in ready.cells:
        # Before the first drawing, as the last cell's blocks may be the wrong ones.
        styled.architecture.select(recipe.blocks)
    known: dict[str, PreparedRecipe] = {}
    pictures, base = [], ready.base
    for recipe in ready.cells:
        shared = recipe.but(prompt="", seed=0).to_json()
        known[shared] = known.get(shared) or prepare(styled, recipe)
        [(picture, made)] = known[shared].generate([recipe])
        base = made if not pictures else base
        # Small at once: a grid of large pictures would fill the memory.
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        pictures.append(picture)
        if on_picture:
            on_picture(len(pictures), len(ready.cells))
    own = {axis.field: getattr(ready.base, axis.field) for axis in ready.axes}
    return _sheet(grid, pictures), replace(ready, base=base.but(**own))


def save(picture: Image.Image, grid: Grid, path: str | Path, *, force: bool = False) -> Path:
    """Write the grid's picture, a PNG that carries base recipe and axes."""
    return save_png(picture, path, texts={KEY: grid.to_json()}, force=force)


def grid_in(path: str | Path) -> Grid | None:
    """The grid that a picture by `save` carries; None where a picture carries none."""
    text = read_text(path, KEY)
    return None if text is None else Grid.from_json(text)


def _sheet(grid: Grid, pictures: list[Image.Image]) -> Image.Image:
    wide = len(grid.x.values)
    rows = [pictures[start : start + wide] for start in range(0, len(pictures), wide)]
    side = max(TILE, *(max(picture.size) for picture in pictures))
    return contact_sheet(grid.lines, grid.columns, rows, side)


def _with_blocks_named(grid: Grid, styled: "InstantStyle") -> Grid:
    """The same with names of blocks for a probe's file; a file of another network is refused."""
    named = styled.architecture.resolve_blocks
    x, *down = (
        replace(axis, values=tuple(map(named, axis.values))) if axis.field == "blocks" else axis
        for axis in grid.axes
    )
    return Grid(grid.base.but(blocks=named(grid.base.blocks)), x, *down)


def _told(axis: SweepAxis, recipes: list[Recipe]) -> dict[str, Any]:
    return {
        "field": axis.field,
        "values": [recipe.model_dump(mode="json")[axis.field] for recipe in recipes],
    }


def _axis(told: dict[str, Any]) -> SweepAxis:
    return SweepAxis(told["field"], tuple(told["values"]))


def _is_styled(recipe: Recipe) -> bool:
    return bool(recipe.references or recipe.layout_references)
