"""The comparison sheet: the effect of each part of the method, side by side, from equal seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..core.conditioning import STYLE_SETTINGS
from ..core.pipeline import InstantStyle, ReferenceLike
from ..core.protocols import PipelineArguments
from ..core.style import Style
from ..imaging.grid import GridLayout, contact_sheet
from ..imaging.loading import fit, open_reference
from ..recipe_types import Crop

TILE_SIDE = 192  # px
LAYOUT = GridLayout(gap=12, label_width=0, header_height=56, font_size=15)


@dataclass(frozen=True)
class ComparisonRow:
    """A reference, and the words for its content, if they are known."""

    reference: ReferenceLike
    content: str | None = None


@dataclass(frozen=True)
class ComparisonColumn:
    """A variant of the method: its title, and the arguments of the call beside prompt and seed."""

    title: str
    arguments: PipelineArguments
    styled: bool = True
    """Whether the reference is used at all."""
    content: bool = False
    """Whether the content of the reference is removed, where it is known."""

    def arguments_for(self, row: ComparisonRow, style: Style) -> PipelineArguments:
        """Return the arguments of the call for a row whose reference has this style."""
        arguments = dict(self.arguments)
        if self.styled:
            arguments["style"] = style
        if self.content:
            arguments["content"] = row.content
        return arguments


COLUMNS = (
    ComparisonColumn("no reference", {}, styled=False),
    ComparisonColumn("all blocks", {"blocks": "all"}),
    ComparisonColumn("style blocks", {"blocks": "style"}),
    ComparisonColumn("style blocks,\ncontent removed", {"blocks": "style"}, content=True),
)


def render_comparison_sheet(
    styled: InstantStyle,
    prompt: str,
    rows: Sequence[ComparisonRow],
    *,
    seed: int = 0,
    crop: Crop = "center",
    on_image: Callable[[int, int], None] | None = None,
    **arguments: Any,
) -> Image.Image:
    """Generate a row of images for each reference, a column for each of `COLUMNS`.

    Args:
        styled: The model.
        prompt: The prompt of all images.
        rows: References; the column with content removed is left out where no row knows its content.
        seed: Seed of the first row, the same in all its columns; each further row adds 1.
        crop: How references are made square, as `instantstyle.imaging.loading.fit`.
        on_image: Called after each image with the number of finished images and of all images.
        arguments: Further arguments of each call.

    Returns:
        The sheet. Its first column shows the references as the image encoder receives them.
    """
    columns = [column for column in COLUMNS if not column.content or any(row.content for row in rows)]
    tiles = []
    for number, row in enumerate(rows):
        style = styled.style(row.reference, crop=crop)
        reference = fit(open_reference(row.reference), max(styled.image_encoder.image_size, TILE_SIDE), crop)
        tiles.append([_tile(reference)])
        for done, column in enumerate(columns, start=1):
            # Settings of the style, such as its scale, have no effect without a reference.
            given = {name: arguments[name] for name in arguments if column.styled or name not in STYLE_SETTINGS}
            call = {**given, **column.arguments_for(row, style)}
            tiles[-1].append(_tile(styled(prompt, seed=seed + number, **call).images[0]))
            if on_image:
                on_image(number * len(columns) + done, len(rows) * len(columns))
    titles = ["reference", *(column.title for column in columns)]
    return contact_sheet([""] * len(rows), titles, tiles, TILE_SIDE, LAYOUT)


def _tile(image: Image.Image) -> Image.Image:
    """Resize an image to a square tile, whatever its proportions."""
    return image.convert("RGB").resize((TILE_SIDE, TILE_SIDE), Image.Resampling.LANCZOS)
