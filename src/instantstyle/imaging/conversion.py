"""Conversion of images of any mode to upright sRGB, strip by strip, so that only the result needs much memory."""

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from .color_profile import ConvertColors, find_conversion
from .tiff_directory import is_safe_exif
from .tiff_layout import GreyLevels, find_levels

STRIP_PIXELS = 2**20
"""Pixels that are converted at once."""

_ORIENTATION = 0x0112
"""EXIF tag of the orientation."""

_SHORT = 3
"""EXIF type of a 16-bit number."""

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation, the operation that makes an image upright."""


def to_rgb(image: Image.Image, background: str = "white") -> Image.Image:
    """Convert an image of any mode to upright sRGB.

    Args:
        image: The image, which is not changed; of an animation its current frame counts.
        background: Colour that shows through where the image is transparent.

    Returns:
        RGB without metadata, rotated as the EXIF data says. An embedded ICC profile is converted to sRGB; a damaged
        one is ignored. 16-bit and float images are scaled to 8 bits.
    """
    # First of all, because a TIFF is rotated when it is decoded.
    image.load()
    orientation = read_orientation(image)
    width, height = image.size
    result = Image.new("RGB", (width, height) if orientation < 5 else (height, width))
    convert = _strip_converter(image, background)
    for top, strip in _strips(image):
        bottom = top + strip.height
        upright = convert(strip)
        if orientation in _TRANSPOSITIONS:
            upright = upright.transpose(_TRANSPOSITIONS[orientation])
        # Rows of the file run down (1, 2), up (3, 4), to the right (5, 8) or to the left (6, 7).
        if orientation in (3, 4):
            place = (0, height - bottom)
        elif orientation in (6, 7):
            place = (height - bottom, 0)
        else:
            place = (top, 0) if orientation in (5, 8) else (0, top)
        result.paste(upright, place)
    return result


def read_orientation(image: Image.Image) -> int:
    """Read the EXIF orientation: 1 to 8; 1 where there is none, or none that can be read.

    Unlike `ImageOps.exif_transpose` this writes no EXIF data, which fails for odd values of tags that do not matter.
    """
    exif = image.info.get("exif")
    exif = exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b""
    try:
        value = image.getexif().get(_ORIENTATION) if is_safe_exif(exif) else None
        if isinstance(value, bytes) and len(value) == 1:
            value = value[0]
        if value in _TRANSPOSITIONS:
            return int(value)
    except Exception:
        # EXIF data are as odd as the programs that wrote them, and Pillow raises any error for them.
        pass
    # Pillow stops reading at the first tag that is cut short.
    value = _find_orientation(exif)
    return value if value in _TRANSPOSITIONS else 1


def _find_orientation(tiff: bytes) -> int | None:
    """Find the orientation in the first directory of EXIF data, whatever the other tags say."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return None
    (start,) = struct.unpack(f"{order}I", tiff[4:8])
    for offset in range(start + 2, len(tiff) - 11, 12):
        tag, kind, count, value = struct.unpack(f"{order}HHIH", tiff[offset : offset + 10])
        if tag == _ORIENTATION:
            return value if (kind, count) == (_SHORT, 1) else None
        # Tags are sorted.
        if tag > _ORIENTATION:
            return None
    return None


class _Depth(NamedTuple):
    """Black and white of an image with more than 8 bits."""

    white: float
    transparent: float | None
    """Value that is transparent."""
    levels: GreyLevels


def _strip_converter(image: Image.Image, background: str) -> Callable[[Image.Image], Image.Image]:
    """Return the conversion of a strip of this image to RGB."""
    depth = _find_depth(image)
    has_alpha = depth is None and image.has_transparency_data
    mode = _opaque_mode(image.mode)
    found = find_conversion(image.info.get("icc_profile"), mode)
    profile_mode, convert_colors = found or (mode, None)

    def convert(strip: Image.Image) -> Image.Image:
        alpha = None
        if depth is not None:
            strip, alpha = _scale_to_8_bits(strip, depth)
        elif has_alpha:
            strip = strip.convert("LA" if mode == "L" else "RGBA")
            alpha = strip.getchannel("A")
        return _composite(_to_srgb(strip.convert(profile_mode), convert_colors), alpha, background)

    return convert


def _opaque_mode(mode: str) -> str:
    """Return the mode of an image without its transparency, in which its profile is applied."""
    if mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16"):
        return "L"
    return mode if mode in ("CMYK", "LAB") else "RGB"


def _to_srgb(image: Image.Image, convert_colors: ConvertColors | None) -> Image.Image:
    return image.convert("RGB") if convert_colors is None else convert_colors(image)


def _composite(image: Image.Image, alpha: Image.Image | None, background: str) -> Image.Image:
    if alpha is None:
        return image
    image.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Cut an image into strips of whole rows; yields the number of the first row with each."""
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _find_depth(image: Image.Image) -> _Depth | None:
    """Find white and the transparent value of an image with more than 8 bits; None for other images."""
    transparent = image.info.get("transparency")
    transparent = float(transparent) if isinstance(transparent, int | float) else None
    levels = find_levels(image)
    if image.mode.startswith("I;16"):
        return _Depth((levels.whites or (65535.0,))[-1], transparent, levels)
    if image.mode not in ("I", "F"):
        return None
    # The least usual white above all values.
    brightest = max(_brightest(_values(strip, levels)) for _, strip in _strips(image))
    usual = levels.whites or ((1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0))
    return _Depth(next((white for white in usual if brightest <= white), brightest), transparent, levels)


def _values(strip: Image.Image, levels: GreyLevels) -> npt.NDArray[Any]:
    values = np.asarray(strip)
    return values.view(np.uint32) if levels.is_unsigned and values.dtype == np.int32 else values


def _brightest(values: npt.NDArray[Any]) -> float:
    return float(np.max(values, initial=0, where=np.isfinite(values)))


def _scale_to_8_bits(strip: Image.Image, depth: _Depth) -> tuple[Image.Image, Image.Image | None]:
    """Scale 0..white to 0..255: Pillow's own `convert` clips, which turns every value above 255 white.

    Returns:
        Grey, and the alpha channel of an image with a transparent value.
    """
    values = _values(strip, depth.levels)
    finite = np.nan_to_num(values.astype(np.float64), posinf=depth.white).clip(0, depth.white)
    shades = (finite * (255 / depth.white)).round().astype(np.uint8)
    grey = Image.fromarray(255 - shades if depth.levels.min_is_white else shades)
    if depth.transparent is None:
        return grey, None
    return grey, Image.fromarray(np.where(values == depth.transparent, 0, 255).astype(np.uint8))
