"""Layout of labelled grids and text cards, with Pillow alone.

Contact sheets and comparison sheets are grids of images, heat maps are grids of numbers, and a card is a
column of text lines beside a small image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

GAP, LABEL_WIDTH, HEADER_HEIGHT = 6, 190, 40  # px; defaults of GridLayout
TILE_SIDE, NUMBER_CELL = 96, (92, 28)  # px: longer side of an image; width and height of a number's cell
MAX_LABEL_LINES = 2  # further text is cut

CARD_WIDTH, CARD_MARGIN, CARD_LINE_HEIGHT = 720, 16, 22  # px
CARD_FONT_SIZE = 15

_COLD, _PALE, _WARM = (59, 96, 180), (247, 247, 247), (196, 60, 44)  # below zero, zero, above
_REPLACEMENTS = str.maketrans({"×": "x", "−": "-", "–": "-", "⊥": "|", "∖": "\\"})
"""Characters that Pillow's built-in font lacks."""

Cell = tuple[int, int]
"""Width and height of a cell in px."""


@dataclass(frozen=True)
class GridLayout:
    """Spacing of a labelled grid.

    Args:
        gap: Space between cells in px.
        label_width: Width in px of the row labels; 0 for a grid without row labels.
        header_height: Height in px of the column labels.
        font_size: Size of the labels in px.
    """

    gap: int = GAP
    label_width: int = LABEL_WIDTH
    header_height: int = HEADER_HEIGHT
    font_size: int = 12

    def corner(self, row: int, column: int, cell: Cell) -> tuple[int, int]:
        """Compute the upper left corner of a cell in px: x, y."""
        width, height = cell
        return (
            self.label_width + self.gap + column * (width + self.gap),
            self.header_height + row * (height + self.gap),
        )

    def canvas(self, row_labels: Sequence[str], column_labels: Sequence[str], cell: Cell) -> Image.Image:
        """Create a white grid with its labels and empty cells."""
        width, height = cell
        size = self.corner(len(row_labels), len(column_labels), cell)
        canvas = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(canvas)
        for row, label in enumerate(row_labels):
            _, top = self.corner(row, 0, cell)
            position = self.label_width - self.gap, top + height // 2
            self._write(draw, label, position, self.label_width - 2 * self.gap, "rm")
        for column, label in enumerate(column_labels):
            left, _ = self.corner(0, column, cell)
            self._write(draw, label, (left + width // 2, self.header_height // 2), width + self.gap, "mm")
        return canvas

    def _write(
        self, draw: ImageDraw.ImageDraw, label: str, position: tuple[int, int], width: int, anchor: str
    ) -> None:
        font = _font(self.font_size)
        lines = label.split("\n") if "\n" in label else wrap_text(label, width, font)
        text = "\n".join(cut_text(line, width, font) for line in lines)
        align = "right" if anchor.startswith("r") else "center"
        draw.multiline_text(position, text, fill="black", anchor=anchor, align=align, spacing=2, font=font)


CONTACT_SHEET = GridLayout()


def contact_sheet(
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    images: Sequence[Sequence[Image.Image | None]],
    side: int = TILE_SIDE,
    layout: GridLayout = CONTACT_SHEET,
) -> Image.Image:
    """Arrange images in a labelled grid.

    Labels are wrapped to `MAX_LABEL_LINES` lines and cut where they are too long; a label with line breaks is
    broken only there.

    Args:
        row_labels: Label of each row.
        column_labels: Label of each column.
        images: Images by row and column; None leaves a cell empty.
        side: Longer side of the images in px; proportions are kept.
        layout: Spacing and font size.
    """
    cell = (side, side)
    canvas = layout.canvas(row_labels, column_labels, cell)
    for row, row_images in enumerate(images):
        for column, image in enumerate(row_images):
            if image is not None:
                tile = ImageOps.contain(image.convert("RGB"), cell, Image.Resampling.LANCZOS)
                left, top = layout.corner(row, column, cell)
                canvas.paste(tile, (left + (side - tile.width) // 2, top + (side - tile.height) // 2))
    return canvas


def heat_map(
    row_labels: Sequence[str], column_labels: Sequence[str], values: Sequence[Sequence[float]]
) -> Image.Image:
    """Render numbers in coloured cells: warm above zero, cold below.

    Args:
        row_labels: Label of each row.
        column_labels: Label of each column.
        values: Numbers by row and column. Colours are scaled by the largest magnitude of each column.
    """
    canvas = CONTACT_SHEET.canvas(row_labels, column_labels, NUMBER_CELL)
    draw, font = ImageDraw.Draw(canvas), _font(13)
    width, height = NUMBER_CELL
    for column in range(len(column_labels)):
        column_values = [row[column] for row in values]
        # 1e-9: a column of zeros is pale instead of divided by zero.
        largest = max(1e-9, *map(abs, column_values))
        for row, value in enumerate(column_values):
            left, top = CONTACT_SHEET.corner(row, column, NUMBER_CELL)
            draw.rectangle((left, top, left + width, top + height), fill=_diverging_colour(value / largest))
            draw.text(
                (left + width / 2, top + height / 2),
                f"{round(value, 2) + 0.0:+.2f}",
                fill="white" if abs(value) / largest > 0.7 else "black",
                anchor="mm",
                font=font,
            )
    return canvas


def text_card(lines: Sequence[str], thumbnail: Image.Image | None, thumbnail_side: int) -> Image.Image:
    """Render lines of text beside a thumbnail.

    Args:
        lines: Lines of text; those longer than the card are cut.
        thumbnail: Image at the left, at most `thumbnail_side` px wide and high; None leaves its place empty.
        thumbnail_side: Space reserved for the thumbnail in px.
    """
    height = max(thumbnail_side, CARD_LINE_HEIGHT * len(lines)) + 2 * CARD_MARGIN
    card = Image.new("RGB", (CARD_WIDTH, height), "white")
    if thumbnail is not None:
        card.paste(thumbnail, (CARD_MARGIN, CARD_MARGIN))
    draw, font = ImageDraw.Draw(card), _font(CARD_FONT_SIZE)
    left = thumbnail_side + 2 * CARD_MARGIN
    for number, line in enumerate(lines):
        text = cut_text(line.translate(_REPLACEMENTS), CARD_WIDTH - left - CARD_MARGIN, font)
        draw.text((left, CARD_MARGIN + number * CARD_LINE_HEIGHT), text, fill="black", font=font)
    return card


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def wrap_text(text: str, width: int, font: Font) -> list[str]:
    """Break text between words into at most `MAX_LABEL_LINES` lines.

    Args:
        text: The text; runs of white space become single spaces.
        width: Available width in px.
        font: The font of the text.

    Returns:
        The lines; the last one holds all of the remaining text and may be too long.
    """
    lines: list[str] = []
    for word in text.split():
        extended = f"{lines[-1]} {word}" if lines else word
        if lines and (len(lines) == MAX_LABEL_LINES or font.getlength(extended) <= width):
            lines[-1] = extended
        else:
            lines.append(word)
    return lines


def cut_text(line: str, width: int, font: Font) -> str:
    """Cut a line to the available width and mark the cut by an ellipsis.

    Args:
        line: One line of text.
        width: Available width in px.
        font: The font of the text.

    Returns:
        The line, or as much of it as fits; empty if not even one character does.
    """
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…" if line else ""


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _diverging_colour(value: float) -> tuple[int, int, int]:
    """Map −1..1 to a colour from cold through pale to warm."""
    end, weight = (_WARM if value > 0 else _COLD), min(1.0, abs(value))
    red, green, blue = (round(p + (e - p) * weight) for p, e in zip(_PALE, end, strict=True))
    return red, green, blue
