"""A comparison sheet: what each part of the method does, side by side, from equal seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..core.pipeline import InstantStyle, ReferenceLike
from ..core.style import Style
from ..imaging.loading import fit, open_reference

CELL, GAP, HEAD = 192, 12, 44  # px: a picture's side, the space around it, the row of titles


@dataclass(frozen=True)
class Row:
    """A reference, and the words for what it shows, if they are known."""

    reference: ReferenceLike
    content: str | None = None


@dataclass(frozen=True)
class Column:
    """One way of drawing: its title, and the call's arguments beside prompt and seed."""

    title: str
    arguments: Mapping[str, Any]
    styled: bool = True
    content: bool = False

    def for_row(self, row: Row, style: Style) -> dict[str, Any]:
        """The call's arguments for a row whose reference has this style."""
        given = {"style": style} if self.styled else {}
        removed = {"content": row.content} if self.content else {}
        return {**self.arguments, **given, **removed}


COLUMNS = (
    Column("no reference", {}, styled=False),
    Column("all blocks", {"blocks": "all"}),
    Column("style blocks", {"blocks": "style"}),
    Column("style blocks,\ncontent removed", {"blocks": "style"}, content=True),
)


def comparison(
    styled: InstantStyle,
    prompt: str,
    rows: Sequence[Row],
    *,
    seed: int = 0,
    crop: str = "center",
    on_picture: Callable[[int, int], None] | None = None,
    **arguments: Any,
) -> Image.Image:
    """Reference · no reference · all blocks · style blocks · content removed: a row for each reference.

    Each row has its own seed (`seed`, `seed + 1`, …), the same in all its columns. `on_picture` is told how
    many pictures are drawn and of how many; other arguments go to each call.
    """
    columns = [column for column in COLUMNS if not column.content or any(row.content for row in rows)]
    sheet = _blank(len(rows), 1 + len(columns))
    for place, title in enumerate(["reference", *(column.title for column in columns)]):
        _write(sheet, place, title)
    for down, row in enumerate(rows):
        style = styled.style(row.reference, crop=crop)
        _paste(sheet, down, 0, _seen(styled, row.reference, crop))
        for across, column in enumerate(columns, start=1):
            ways = {**arguments, **column.for_row(row, style)}
            _paste(sheet, down, across, styled(prompt, seed=seed + down, **ways).images[0])
            if on_picture:
                on_picture(down * len(columns) + across, len(rows) * len(columns))
    return sheet


def _seen(styled: InstantStyle, reference: ReferenceLike, crop: str) -> Image.Image:
    """The reference as the image encoder sees it, so that nothing is cut off unnoticed."""
    image = open_reference(reference)
    return fit(image, max(styled.image_encoder.image_size, CELL), crop)


def _blank(rows: int, columns: int) -> Image.Image:
    return Image.new("RGB", (columns * (CELL + GAP) + GAP, HEAD + rows * (CELL + GAP) + GAP), "white")


def _write(sheet: Image.Image, column: int, title: str) -> None:
    pen = ImageDraw.Draw(sheet)
    centre = GAP + column * (CELL + GAP) + CELL / 2, GAP / 2 + HEAD / 2
    pen.multiline_text(
        centre, title, fill="black", anchor="mm", align="center", font=ImageFont.load_default(15), spacing=2
    )


def _paste(sheet: Image.Image, row: int, column: int, image: Image.Image) -> None:
    # Lanczos: small pictures stay smooth when enlarged, large ones sharp when made small.
    tile = image.convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS)
    sheet.paste(tile, (GAP + column * (CELL + GAP), HEAD + GAP + row * (CELL + GAP)))
