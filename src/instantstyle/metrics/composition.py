"""Edges and layout, which a style score must not follow: what is shown, and where in the image it is.

Both descriptors use edges of an image blurred until fine texture vanishes, and only their local or overall
contrast, so that colours have little influence.
"""

from math import ceil, pi

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SIDE = 64  # px; images are resized to a square without keeping their proportions
CELLS, ORIENTATIONS = 8, 6  # histograms of edge directions: cells per side, directions
UNRELATED_SIMILARITY = {"drawing": 0.101, "layout": 0.359}
"""Mean cosine of two unrelated images, measured as `palette.UNRELATED_DISTANCE`."""

_FINE_SIGMA = 2.0  # px of blur, which removes all patterns of the synthetic dataset
_CONTRAST_SIGMA = 6.0  # px; extent of the neighbourhood over which contrast is evened out
_FAINT = 0.02  # edges weaker than this, in OKLab per pixel, are not amplified


def edge_histograms(lab: Float[Tensor, "3 height width"]) -> Float[Tensor, "cells"]:
    """Compute histograms of edge directions in each cell (HOG, Dalal & Triggs 2005).

    They match an object that stayed in its place, and not one that moved.

    Args:
        lab: An image as `pixels.to_small_oklab` returns it.

    Returns:
        A centred vector of length 1.
    """
    strength, angle = find_edges(lab)
    strength = strength / (blur(strength[None], _CONTRAST_SIGMA)[0] + _FAINT)
    votes = [
        strength * torch.cos(angle - turn * pi / ORIENTATIONS).abs() ** ORIENTATIONS for turn in range(ORIENTATIONS)
    ]
    return _normalize(blur(F.adaptive_avg_pool2d(torch.stack(votes), CELLS), 0.5))


def edge_map(lab: Float[Tensor, "3 height width"]) -> Float[Tensor, "places"]:
    """Compute a blurred map of where edges are, independent of what they outline.

    Args:
        lab: An image as `pixels.to_small_oklab` returns it.

    Returns:
        A centred vector of length 1.
    """
    strength, _ = find_edges(lab)
    # 0.2 of the strongest: clear edges count nearly equally.
    presence = strength / (strength + 0.2 * strength.max() + 1e-6)
    return _normalize(blur(presence[None], _CONTRAST_SIGMA))


def similarity(one: Float[Tensor, "places"], other: Float[Tensor, "places"]) -> float:
    """Compute the cosine of two vectors of length 1."""
    return (one @ other).item()


def find_edges(
    lab: Float[Tensor, "3 height width"],
) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]]:
    """Compute the colour gradient at each pixel of the image resized to a square.

    Args:
        lab: An image as `pixels.to_small_oklab` returns it.

    Returns:
        Strength in OKLab per pixel, and direction in radians.
    """
    small = F.interpolate(lab[None], (SIDE, SIDE), mode="area")[0]
    small = blur(small * torch.tensor((1.0, 2.0, 2.0))[:, None, None], _FINE_SIGMA)
    across = (small[:, :, 2:] - small[:, :, :-2])[:, 1:-1]
    down = (small[:, 2:] - small[:, :-2])[:, :, 1:-1]
    power = across**2 + down**2
    strongest = power.argmax(0, keepdim=True)
    angle = torch.atan2(down.gather(0, strongest)[0], across.gather(0, strongest)[0])
    return power.sum(0).sqrt(), angle


def blur(planes: Float[Tensor, "plane height width"], sigma: float) -> Float[Tensor, "plane height width"]:
    """Apply a Gaussian blur of `sigma` px; the border is repeated."""
    reach = ceil(3 * sigma)
    kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    padded = F.pad(planes[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]


def _normalize(planes: Float[Tensor, "plane height width"]) -> Float[Tensor, "places"]:
    return F.normalize((planes - planes.mean()).flatten(), dim=0)
