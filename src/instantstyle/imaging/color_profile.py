"""Conversion of embedded ICC profiles to sRGB with LittleCMS, which Pillow contains."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageCms, features

ConvertColors = Callable[[Image.Image], Image.Image]
"""Converts an image of one mode to sRGB."""

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
"""By colour space of a profile, the mode of the images that it describes."""

IDENTITY_TOLERANCE = 2
"""Largest difference in 8-bit levels between sRGB and a profile that is taken for sRGB: that of rounding. The
pixels of such an image stay exactly as they are."""


def find_conversion(profile: object, mode: str) -> tuple[str, ConvertColors] | None:
    """Find how the colours of an image are converted to sRGB.

    Args:
        profile: `Image.info["icc_profile"]`, or None.
        mode: `RGB`, `L`, `CMYK` or `LAB`.

    Returns:
        The mode that images must have before the conversion (grey with a profile of colours is converted as
        colour), and the conversion. None where the values are sRGB already: without a profile, with one that
        equals sRGB, is damaged or belongs to another mode.
    """
    if not features.check("littlecms2"):
        return None
    if isinstance(profile, bytes):
        try:
            opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            expected = _MODES.get(_core(opened).xcolor_space.strip(), "")
            if expected == mode or (expected, mode) == ("RGB", "L"):
                convert = _build(opened, expected)
                return (expected, convert) if _changes_colors(convert, expected) else None
        # A damaged profile; LittleCMS reports it in any of these ways, by the tag that is damaged.
        except (OSError, ValueError, TypeError, AttributeError, LookupError):
            pass
    if mode == "LAB":
        # Without a profile of its own, Lab means CIE 1976 at D50, as TIFF defines.
        return mode, _build(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), mode)
    return None


def _core(profile: ImageCms.ImageCmsProfile) -> Any:
    # Pillow declares `profile` also as the file that it was read from.
    return profile.profile


def _build(profile: ImageCms.ImageCmsProfile, mode: str) -> ConvertColors:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsTransform(profile, srgb, mode, "RGB", _intent(profile)).apply


def _intent(profile: ImageCms.ImageCmsProfile) -> ImageCms.Intent:
    """Return the profile's own intent; a relative one for absolute, which would keep the tint of the paper."""
    intent = _core(profile).rendering_intent
    if intent in (ImageCms.Intent.ABSOLUTE_COLORIMETRIC, ImageCms.Intent.RELATIVE_COLORIMETRIC):
        return ImageCms.Intent.RELATIVE_COLORIMETRIC
    return ImageCms.Intent.SATURATION if intent == ImageCms.Intent.SATURATION else ImageCms.Intent.PERCEPTUAL


def _changes_colors(convert: ConvertColors, mode: str) -> bool:
    if mode == "L":
        probe = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    elif mode == "RGB":
        levels = np.array([0, 8, 16, 32, 64, 96, 128, 192, 255], dtype=np.uint8)
        grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
        probe = Image.fromarray(grid.reshape(27, 27, 3))
    else:
        return True
    before, after = (np.asarray(image.convert("RGB"), dtype=np.int16) for image in (probe, convert(probe)))
    return int(np.abs(after - before).max()) > IDENTITY_TOLERANCE
