"""A small picture of what a style was seen in, as the bytes of a JPEG: to be recognised by, nothing more."""

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from ..errors import StyleError

SIDE = 128
"""Pixels of its longer side: 2–8 kB, enough to tell one style from another in a list."""

QUALITY = 80
"""JPEG's own scale; beyond it a thumbnail grows faster than it improves."""


def make_thumbnail(pictures: Sequence[Image.Image]) -> bytes:
    """One picture whole, or several side by side, none larger than `SIDE`."""
    tiles = [_within(picture.convert("RGB"), SIDE) for picture in pictures]
    if len(tiles) == 1:
        return _jpeg(tiles[0])
    row = Image.new("RGB", (sum(tile.width for tile in tiles), max(tile.height for tile in tiles)), "white")
    left = 0
    for tile in tiles:
        row.paste(tile, (left, (row.height - tile.height) // 2))
        left += tile.width
    return _jpeg(_within(row, SIDE))


def combine_thumbnails(thumbnails: Sequence[bytes]) -> bytes:
    """The thumbnail of what was made of several styles; those that have none are left out."""
    shown = [decode_thumbnail(data) for data in thumbnails if data]
    return make_thumbnail(shown) if shown else b""


def decode_thumbnail(data: bytes) -> Image.Image:
    """The picture; `StyleError` where the bytes are none of ours."""
    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            if max(image.size) > SIDE:
                raise StyleError(f"A style's thumbnail is {image.size}; it is at most {SIDE} pixels wide.")
            return image.convert("RGB")
    # Decoders report damage as any of these.
    except (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError):
        raise StyleError("A style's thumbnail is no whole JPEG; make the style file anew.") from None


def _within(image: Image.Image, side: int) -> Image.Image:
    width, height = (max(1, round(part * side / max(image.size))) for part in image.size)
    if max(image.size) <= side:
        return image
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def _jpeg(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, format="JPEG", quality=QUALITY)
    return file.getvalue()
