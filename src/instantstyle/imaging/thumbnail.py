"""Thumbnails of the references of a style, as the bytes of a JPEG; they serve to recognize it in a list."""

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from ..errors import ImageError, StyleError
from .conversion import to_rgb
from .decoding_cost import check_cost

THUMBNAIL_SIDE = 128
"""Largest width and height in px: 2–8 kB, enough to tell one style from another in a list."""

JPEG_QUALITY = 80
"""On JPEG's own scale; above it a thumbnail grows faster than it improves."""


def make_thumbnail(images: Sequence[Image.Image]) -> bytes:
    """Make the thumbnail of one image, or of several side by side.

    Args:
        images: At least one image.

    Returns:
        A JPEG, no side longer than `THUMBNAIL_SIDE`.
    """
    tiles = [_shrink(image.convert("RGB")) for image in images]
    thumbnail = tiles[0]
    if len(tiles) > 1:
        size = sum(tile.width for tile in tiles), max(tile.height for tile in tiles)
        row = Image.new("RGB", size, "white")
        left = 0
        for tile in tiles:
            row.paste(tile, (left, (row.height - tile.height) // 2))
            left += tile.width
        thumbnail = _shrink(row)
    file = BytesIO()
    thumbnail.save(file, format="JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def combine_thumbnails(thumbnails: Sequence[bytes]) -> bytes:
    """Make the thumbnail of a style that is mixed from several.

    Args:
        thumbnails: Thumbnails of the styles; empty ones are left out.

    Returns:
        The thumbnails side by side; empty if all are.

    Raises:
        StyleError: A thumbnail is not valid.
    """
    images = [decode_thumbnail(data) for data in thumbnails if data]
    return make_thumbnail(images) if images else b""


def decode_thumbnail(data: bytes) -> Image.Image:
    """Decode a thumbnail.

    Args:
        data: The bytes of a JPEG.

    Returns:
        The image as RGB.

    Raises:
        StyleError: The bytes are not a complete JPEG, or it is larger than `THUMBNAIL_SIDE`, or would
            take long to decode.
    """
    try:
        check_cost(BytesIO(data), data[:32], "A style's thumbnail")
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            if max(image.size) > THUMBNAIL_SIDE:
                raise StyleError(
                    f"A style's thumbnail is {image.width}×{image.height} px; no side may exceed {THUMBNAIL_SIDE}."
                )
            return to_rgb(image)
    except ImageError as error:
        raise StyleError(str(error)) from None
    except StyleError:
        raise
    # Decoders report damage by any error, also by failed assertions.
    except Exception:
        raise StyleError("A style's thumbnail is not a complete JPEG; create the style file again.") from None


def _shrink(image: Image.Image) -> Image.Image:
    """Resize an image in its proportions to `THUMBNAIL_SIDE`; smaller ones are returned unchanged."""
    if max(image.size) <= THUMBNAIL_SIDE:
        return image
    width, height = (max(1, round(side * THUMBNAIL_SIDE / max(image.size))) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
