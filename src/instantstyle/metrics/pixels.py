"""Conversion of images to small OKLab tensors, for the scores that need no network."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

SMALLEST, LARGEST = 64, 128
"""px: sides of the square with as many pixels as an image is scored at. 64 is what the longest filter needs;
at 128 strokes of a 1024 px image are still resolved, and an image is scored in a tenth of a second."""

# Ottosson 2020, bottosson.github.io/posts/oklab: linear sRGB → cone responses → lightness, a, b.
_TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def common_side(images: Sequence[Image.Image]) -> int:
    """Choose the side at which images are compared, so that none shows detail the others cannot.

    Args:
        images: The images to compare.

    Returns:
        Side in px of the square with as many pixels as the smallest image, in `SMALLEST`..`LARGEST`.
    """
    sides = [sqrt(image.width * image.height) for image in images]
    return round(min(LARGEST, max(SMALLEST, min(sides))))


def to_small_oklab(image: Image.Image, side: int) -> Float[Tensor, "3 height width"]:
    """Resize an image to about `side`² pixels in its own proportions and convert it to OKLab.

    Args:
        image: Image of any mode and size.
        side: Side in px of the square with as many pixels.

    Returns:
        OKLab, lightness in 0..1 first.
    """
    scale = side / sqrt(image.width * image.height)
    # At least 32 px: the filters cannot be applied to a strip a few pixels high.
    width, height = (max(32, round(length * scale)) for length in image.size)
    small = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    return srgb_to_oklab(torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255)


def srgb_to_oklab(rgb: Float[Tensor, "3 height width"]) -> Float[Tensor, "3 height width"]:
    """Convert sRGB in 0..1 to OKLab: lightness in 0..1, a and b in about −0.3..0.3."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = torch.einsum("ij,jhw->ihw", torch.tensor(_TO_CONES), linear)
    return torch.einsum("ij,jhw->ihw", torch.tensor(_TO_LAB), cones ** (1 / 3))
