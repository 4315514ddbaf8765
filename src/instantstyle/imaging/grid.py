"""Labelled grids with Pillow alone: contact sheets of pictures, and heat maps of numbers."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

GAP, LABEL, HEAD = 6, 190, 40  # px: around a cell, the width of a row's label, the height of a column's
LINES = 2  # of a label, before it is cut
TILE, CELL = 96, (92, 28)  # px: a picture's side; a number's field

_COLD, _PALE, _WARM = (59, 96, 180), (247, 247, 247), (196, 60, 44)  # below zero, zero, above


def contact_sheet(
    rows: Sequence[str],
    columns: Sequence[str],
    pictures: Sequence[Sequence[Image.Image | None]],
    side: int = TILE,
) -> Image.Image:
    """A row of pictures for each label, their longer sides `side` px; None leaves a place empty."""
    canvas = _canvas(rows, columns, (side, side))
    for down, row in enumerate(pictures):
        for across, picture in enumerate(row):
            if picture is not None:
                tile = ImageOps.contain(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
                left, top = _corner(down, across, (side, side))
                canvas.paste(tile, (left + (side - tile.width) // 2, top + (side - tile.height) // 2))
    return canvas


def heat_map(rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]]) -> Image.Image:
    """Numbers in coloured fields: warm above zero, cold below, each column by its own largest."""
    canvas = _canvas(rows, columns, CELL)
    pen = ImageDraw.Draw(canvas)
    for across in range(len(columns)):
        column = [row[across] for row in values]
        # 1e-9: a column of zeros is pale, not divided by nothing.
        largest = max(1e-9, *map(abs, column))
        for down, value in enumerate(column):
            left, top = _corner(down, across, CELL)
            box = (left, top, left + CELL[0], top + CELL[1])
            pen.rectangle(box, fill=_shade(value / largest))
            dark = abs(value) / largest > 0.7
            middle = (left + CELL[0] / 2, top + CELL[1] / 2)
            pen.text(
                middle,
                f"{round(value, 2) + 0.0:+.2f}",
                fill="white" if dark else "black",
                anchor="mm",
                font=_font(13),
            )
    return canvas


def _canvas(rows: Sequence[str], columns: Sequence[str], cell: tuple[int, int]) -> Image.Image:
    """White, with every label written."""
    size = _corner(len(rows), len(columns), cell)
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    for down, label in enumerate(rows):
        _, top = _corner(down, 0, cell)
        _write(pen, label, (LABEL - GAP, top + cell[1] // 2), LABEL - 2 * GAP, "rm")
    for across, label in enumerate(columns):
        left, _ = _corner(0, across, cell)
        _write(pen, label, (left + cell[0] // 2, HEAD // 2), cell[0] + GAP, "mm")
    return canvas


def _corner(down: int, across: int, cell: tuple[int, int]) -> tuple[int, int]:
    return LABEL + GAP + across * (cell[0] + GAP), HEAD + down * (cell[1] + GAP)


def _write(pen: ImageDraw.ImageDraw, label: str, place: tuple[int, int], room: int, anchor: str) -> None:
    """As much of the label as there is room for, in as many lines as it may have."""
    lines = _lines(pen, label, room)
    text = "\n".join(_cut(pen, line, room) for line in lines)
    align = "right" if anchor.startswith("r") else "center"
    pen.multiline_text(place, text, fill="black", anchor=anchor, align=align, spacing=2, font=_font(12))


def _lines(pen: ImageDraw.ImageDraw, label: str, room: int) -> list[str]:
    """Broken between words where it is too long; the last line takes all that is left."""
    lines: list[str] = []
    for word in label.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and (len(lines) == LINES or pen.textlength(joined, font=_font(12)) <= room):
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def _cut(pen: ImageDraw.ImageDraw, line: str, room: int) -> str:
    while line and pen.textlength(line, font=_font(12)) > room:
        line = f"{line.rstrip('…')[:-1]}…" if len(line) > 2 else ""
    return line


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _shade(share: float) -> tuple[int, int, int]:
    """−1..1 → colour."""
    end, weight = (_WARM if share > 0 else _COLD), min(1.0, abs(share))
    red, green, blue = (round(p + (e - p) * weight) for p, e in zip(_PALE, end, strict=True))
    return red, green, blue
