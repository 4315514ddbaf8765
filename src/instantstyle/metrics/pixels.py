"""A picture as the scores without a network see it: small, and in a space where distances are seen."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

SMALLEST, LARGEST = 64, 128
"""px: sides of the square with as many pixels as a picture is scored at. 64: what the coarsest filter
needs; 128: strokes of a 1024 px picture still stand, and a picture is looked at in a tenth of a second."""

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


def common_side(pictures: Sequence[Image.Image]) -> int:
    """At which side they are compared: the smallest one's, so that none shows detail the others cannot."""
    sides = [sqrt(picture.width * picture.height) for picture in pictures]
    return round(min(LARGEST, max(SMALLEST, min(sides))))


def lab(picture: Image.Image, side: int) -> Float[Tensor, "3 height width"]:
    """OKLab, lightness in 0..1 first; about `side`² pixels in the picture's own proportions."""
    scale = side / sqrt(picture.width * picture.height)
    # 32: a strip of a few pixels' height would leave the filters nothing to look at.
    width, height = (max(32, round(length * scale)) for length in picture.size)
    small = picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    return oklab(torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255)


def oklab(rgb: Float[Tensor, "3 height width"]) -> Float[Tensor, "3 height width"]:
    """sRGB in 0..1 → OKLab: lightness 0..1, a and b about −0.3..0.3."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = torch.einsum("ij,jhw->ihw", torch.tensor(_TO_CONES), linear)
    return torch.einsum("ij,jhw->ihw", torch.tensor(_TO_LAB), cones ** (1 / 3))
