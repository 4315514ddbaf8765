"""Sweep: a labelled grid of images over one or two fields of a recipe, with everything else equal."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..errors import JobError
from ..imaging.grid import TILE_SIDE, contact_sheet
from ..imaging.png_metadata import read_png_text, save_png
from ..recipe import ACTING_FIELDS, BLOCK_FIELDS, REDUX_FIELDS, STYLE_FIELDS, TOKEN_FIELDS, Recipe
from ..unet.probe_file import resolve_block_spec
from ..utils.text import cut, one_line, shorten
from ..utils.text_file import parse_json
from .generate import PreparedRecipe, prepare, resolve_blocks
from .idle_fields import list_unused_fields
from .sources import SourceCache
from .sweep_axis import SweepAxis

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle

GRID_KEY = "instantstyle-sweep"
"""PNG text key of the grid as JSON: base recipe and axes."""

GRID_VERSION = 1
"""Version of that JSON."""

MAX_TILE_SIDE = 256
"""Longer side in pixels to which images are reduced in the grid."""

OnImage = Callable[[int, int], None]
"""Called after each image with the number of finished images, and of all images."""


@dataclass(frozen=True)
class Grid:
    """A recipe for each cell of a grid.

    Attributes:
        base: The recipe that every cell has apart from the fields of the axes.
        x: Axis from left to right.
        y: Axis from top to bottom; None for a single row.

    Raises:
        JobError: Both axes have the same field, or a field needs a reference and no cell has one.
    """

    base: Recipe
    x: SweepAxis
    y: SweepAxis | None = None

    def __post_init__(self) -> None:
        if self.y and self.x.field == self.y.field:
            raise JobError(f"Both axes sweep {self.x.display_name}; give --y another field, or leave it out.")
        if any(cell.references or cell.layout_references or cell.second_references for cell in self.cells):
            return
        acting = {*(ACTING_FIELDS if self.base.styling_loras else ())}
        acting |= {"crop", *TOKEN_FIELDS} if any(cell.redux_references for cell in self.cells) else set()
        if any(cell.colour_image for cell in self.cells):
            acting |= {"colour_transfer", "colour_transfer_interval"}
        for axis in self.axes:
            if axis.field in STYLE_FIELDS and axis.field not in acting:
                lora = ", or --lora FILE@BLOCKS" if axis.field in ACTING_FIELDS else ""
                raise JobError(
                    f"{axis.display_name} can only act on a reference, and there is none; add --style IMAGE{lora}."
                )

    @property
    def axes(self) -> tuple[SweepAxis, ...]:
        return (self.x, self.y) if self.y else (self.x,)

    @cached_property
    def rows(self) -> list[list[Recipe]]:
        """The recipes, row by row. Raises `JobError` if a field does not accept a value of its axis."""
        down = [{self.y.field: value} for value in self.y.values] if self.y else [{}]
        return [[self.base.replace(**row, **{self.x.field: value}) for value in self.x.values] for row in down]

    @property
    def cells(self) -> list[Recipe]:
        """The recipes of all rows in one list."""
        return [recipe for row in self.rows for recipe in row]

    @property
    def column_labels(self) -> list[str]:
        return [self.x.label(recipe) for recipe in self.rows[0]]

    @property
    def row_labels(self) -> list[str]:
        """Labels of the rows; a single row is labelled by the prompt, or by the seed if `x` is the prompt."""
        if self.y:
            return [self.y.label(row[0]) for row in self.rows]
        return [f"seed {self.base.seed}" if self.x.field == "prompt" else self.base.prompt]

    def to_json(self) -> str:
        """Serialize base recipe and axes, with all fields."""

        def dump(axis: SweepAxis, recipes: list[Recipe]) -> dict[str, object]:
            values = [recipe.model_dump(mode="json")[axis.field] for recipe in recipes]
            return {"field": axis.field, "values": values}

        axes = {
            "x": dump(self.x, self.rows[0]),
            "y": dump(self.y, [row[0] for row in self.rows]) if self.y else None,
        }
        return json.dumps({"version": GRID_VERSION, "recipe": self.base.model_dump(mode="json"), **axes})

    @classmethod
    def from_json(cls, text: str) -> "Grid":
        """Parse a grid written by `to_json`.

        Raises:
            JobError: The text is not the JSON of a grid, or of another version.
        """
        try:
            content: Any = parse_json(text)
            # True equals 1.
            if isinstance(content["version"], bool) or content["version"] != GRID_VERSION:
                raise JobError(f"The grid has version {shorten(content['version'])}, not {GRID_VERSION}.")
            axes = (content["x"], content["y"]) if content["y"] else (content["x"],)
            axes = [SweepAxis(axis["field"], tuple(axis["values"])) for axis in axes]
            return cls(Recipe.model_validate(content["recipe"]), *axes)
        # Fields and values of an axis can have any type.
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise JobError(f"The text is not the JSON of a grid: {one_line(error, 200)}.") from None


def sweep(
    styled: "InstantStyle",
    grid: Grid,
    on_image: OnImage | None = None,
    sources: SourceCache | None = None,
) -> tuple[Image.Image, Grid]:
    """Generate the images of a grid.

    What cells share is prepared once, and each reference is encoded once. Each image is a call of its own, so
    that it equals the image that its recipe gives alone.

    Args:
        styled: The model.
        grid: The grid.
        on_image: Called after each image.
        sources: Cache with the files that `validate` decoded.

    Returns:
        The labelled grid as one image; and the grid with everything that the model chose filled into its
        base, and with block names instead of probe files.

    Raises:
        InstantStyleError: A recipe does not fit the model. All block selections are validated, and all references
            encoded, before the first image is generated.
    """
    sources = SourceCache() if sources is None else sources
    resolved = _name_first_image(_resolve_blocks(grid, styled))
    for recipe in resolved.cells:
        unused = list_unused_fields(recipe)
        for field in (name for name in BLOCK_FIELDS if name not in unused):
            network = styled.adapter.all_blocks[1] if field in REDUX_FIELDS else styled.architecture
            network.select(getattr(recipe, field))
    prepared: dict[str, PreparedRecipe] = {}
    # All of them before the first image: one that does not fit would end the sweep in its middle.
    for recipe in resolved.cells:
        if (settings := _settings_key(recipe)) not in prepared:
            prepared[settings] = prepare(styled, recipe, sources)
    images: list[Image.Image] = []
    base = resolved.base
    for recipe in resolved.cells:
        [(image, complete)] = prepared[_settings_key(recipe)].generate([recipe])
        base = base if images else complete
        # Reduced at once: a grid of large images would need too much memory.
        image.thumbnail((MAX_TILE_SIDE, MAX_TILE_SIDE), Image.Resampling.LANCZOS)
        images.append(image)
        if on_image:
            on_image(len(images), len(resolved.cells))
    swept = {axis.field: getattr(resolved.base, axis.field) for axis in resolved.axes}
    columns = len(grid.x.values)
    rows = [images[start : start + columns] for start in range(0, len(images), columns)]
    side = max(TILE_SIDE, *(max(image.size) for image in images))
    sheet = contact_sheet(grid.row_labels, grid.column_labels, rows, side)
    return sheet, replace(resolved, base=base.replace(**swept))


def _settings_key(recipe: Recipe) -> str:
    """Return all of a recipe except prompt and seed, which cells of one preparation share."""
    return recipe.replace(prompt="", seed=0).to_json()


def _name_first_image(grid: Grid) -> Grid:
    """Name the first cell as the first image of the cells that share attention and name none."""
    first = grid.cells[0]
    if not any(cell.shared and cell.first_seed is None for cell in grid.cells):
        return grid
    return replace(grid, base=grid.base.replace(first_prompt=first.prompt, first_seed=first.seed))


def _resolve_blocks(grid: Grid, styled: "InstantStyle") -> Grid:
    """Replace probe files by block names. Raises `BlockError` for a probe of another network."""

    def resolve(axis: SweepAxis) -> SweepAxis:
        if axis.field not in BLOCK_FIELDS:
            return axis
        network = None if axis.field in REDUX_FIELDS else styled.architecture
        return replace(axis, values=tuple(resolve_block_spec(spec, network) for spec in axis.values))

    return Grid(resolve_blocks(grid.base, styled.architecture), *map(resolve, grid.axes))


def save_grid(image: Image.Image, grid: Grid, path: str | Path, *, force: bool = False) -> Path:
    """Write the image of a grid as a PNG that carries base recipe and axes.

    Args:
        image: The image, as `sweep` returns it.
        grid: The grid, as `sweep` returns it.
        path: A .png file.
        force: Whether to overwrite an existing file.

    Returns:
        The path.

    Raises:
        JobError: The file exists, does not end in .png, or cannot be written.
    """
    return save_png(image, path, texts={GRID_KEY: grid.to_json()}, force=force)


def read_grid(path: str | Path) -> Grid | None:
    """Read the grid that a PNG written by `save_grid` carries.

    Args:
        path: The file.

    Returns:
        The grid; None if the image carries none.

    Raises:
        ImageError: The file cannot be read as an image.
        JobError: The grid is not valid.
    """
    text = read_png_text(path, GRID_KEY)
    try:
        return None if text is None else Grid.from_json(text)
    except JobError as error:
        raise JobError(f"{cut(str(path), 300)} carries no valid grid. {error}") from None
