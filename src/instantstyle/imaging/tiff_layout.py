"""Strips and samples of TIFF files: which Pillow decodes in bounded time, and to which values."""

from math import ceil
from typing import Any, NamedTuple

from PIL import Image

from ..errors import ImageError

MAX_STRIPS = 100_000
"""Largest number of strips or tiles. Usual files have a strip for each 8 kB; an image of one row for each strip has as
many as rows. Each takes about 20 µs."""

STRIP_OFFSETS, TILE_OFFSETS = 273, 324

_BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ROWS = 258, 259, 262, 266, 278
_STRIP_BYTES, _PLANAR, _TILE_WIDTH, _TILE_LENGTH, _TILE_BYTES, _FORMAT = 279, 284, 322, 323, 325, 339

_UNCOMPRESSED, _MIN_IS_WHITE, _YCBCR, _SEPARATE = 1, 0, 6, 2
_UNSIGNED, _SIGNED = 1, 2

_FORMATS = {_UNSIGNED: "unsigned integers", _SIGNED: "signed integers", 3: "floats"}


class GreyLevels(NamedTuple):
    """What the grey values of a TIFF mean."""

    whites: tuple[float, ...]
    """Values of which the least that is not below any pixel is white. Empty for the usual ones."""
    is_unsigned: bool
    """Whether values that Pillow decodes as negative are large ones: those of unsigned 32-bit integers."""
    min_is_white: bool
    """Whether Pillow leaves the values of an image whose zeros are white as they are."""


USUAL_LEVELS = GreyLevels((), is_unsigned=False, min_is_white=False)


def find_levels(image: Image.Image) -> GreyLevels:
    """Find what the grey values of an image with more than 8 bits mean; `USUAL_LEVELS` for other files than TIFFs."""
    tags = _tags(image)
    bits, kind = _first(tags, _BITS, 1), _first(tags, _FORMAT, _UNSIGNED)
    if not tags:
        return USUAL_LEVELS
    whites: tuple[float, ...] = ()
    if image.mode.startswith("I"):
        if kind == _UNSIGNED:
            whites = (255.0, 65535.0, 4294967295.0) if bits == 32 else (2.0**bits - 1,)
        elif bits == 16:
            whites = (32767.0,)
    return GreyLevels(whites, kind == _UNSIGNED and bits == 32, _first(tags, _PHOTOMETRIC, 0) == _MIN_IS_WHITE)


def check_samples(image: Image.Image, name: str) -> None:
    """Refuse a TIFF whose samples Pillow decodes to other values than those in the file.

    Args:
        image: An image as Pillow opened it; other formats pass.
        name: Name of the image in error messages.

    Raises:
        ImageError: The message names the layout of the samples.
    """
    tags = _tags(image)
    if not tags:
        return
    bits, kind = _first(tags, _BITS, 1), _first(tags, _FORMAT, _UNSIGNED)
    is_raw, is_big_endian = _first(tags, _COMPRESSION, 1) == _UNCOMPRESSED, tags.prefix == b"MM"
    # Of a plane of its own Pillow forgets depth, order of bits and inversion.
    is_simple = bits == 8 and _first(tags, _FILL_ORDER, 1) == 1 and _first(tags, _PHOTOMETRIC, 0) != _MIN_IS_WHITE
    fault = None
    if kind == _SIGNED and bits == 8:
        fault = ""
    elif _first(tags, _PLANAR, 1) == _SEPARATE and ((is_raw and not is_simple) or image.mode in ("LA", "PA", "LAB")):
        fault = " in separate planes"
    elif is_raw and _first(tags, _PHOTOMETRIC, 0) == _YCBCR and image.mode == "RGB":
        fault = " of YCbCr without compression"
    # libtiff returns native order, which Pillow expects of 16-bit unsigned samples only.
    elif not is_raw and is_big_endian and (bits == 32 or (bits, kind) == (16, _SIGNED)):
        fault = " in big-endian order, compressed"
    if fault is not None:
        raise ImageError(
            f"{name} is a TIFF of {bits}-bit {_FORMATS.get(kind, 'samples')}{fault}, which are not decoded; "
            "save it as PNG or JPEG, with 8 bits."
        )


def check_strips(image: Image.Image, size: int, name: str) -> None:
    """Refuse a TIFF whose strips or tiles name the same bytes or pixels again and again.

    Args:
        image: An image as Pillow opened it, before its pixels are decoded; other formats pass.
        size: Number of bytes of the file.
        name: Name of the image in error messages.

    Raises:
        ImageError: Decoding would take longer than size and pixels of the file allow.
    """
    tags = _tags(image)
    if not tags:
        return
    has_tiles = STRIP_OFFSETS not in tags
    width = _first(tags, _TILE_WIDTH, 1) if has_tiles else image.width
    height = _first(tags, _TILE_LENGTH, 1) if has_tiles else min(_first(tags, _ROWS, image.height), image.height)
    # Rotated images have the size of the file in the other order.
    sides = sorted(image.size)
    expected = max(
        ceil(across / max(1, width)) * ceil(down / max(1, height)) for across, down in (sides, reversed(sides))
    )
    offsets = _values(tags, TILE_OFFSETS if has_tiles else STRIP_OFFSETS)
    planes = len(_values(tags, _BITS)) if _first(tags, _PLANAR, 1) == _SEPARATE else 1
    stored = _values(tags, _TILE_BYTES if has_tiles else _STRIP_BYTES)
    is_repeated = width * height <= 0 or (len(offsets) > 1 and len(offsets) > 2 * expected * max(1, planes))
    is_compressed = _first(tags, _COMPRESSION, 1) != _UNCOMPRESSED
    if is_repeated or (is_compressed and len(stored) > 1 and sum(stored) > 2 * size):
        raise ImageError(f"{name} is a TIFF whose strips overlap, which would take long to decode; save it again.")


def tile_pixels(image: Image.Image) -> int:
    """Return how many pixels a tile of a TIFF has, which are decoded together; 0 for other images."""
    tags = _tags(image)
    return _first(tags, _TILE_WIDTH, 0) * _first(tags, _TILE_LENGTH, 0) if tags else 0


def pixel_bits(image: Image.Image) -> int:
    """Return how many bits a pixel of a TIFF has in the file; 0 for other images."""
    return sum(_values(_tags(image), _BITS))


def _tags(image: Image.Image) -> Any:
    # Empty for an image of another format.
    return getattr(image, "tag_v2", None) or {}


def _values(tags: Any, tag: int) -> tuple[int, ...]:
    value = tags.get(tag, ())
    values = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in values if isinstance(number, int))


def _first(tags: Any, tag: int, default: int) -> int:
    return next(iter(_values(tags, tag)), default)
