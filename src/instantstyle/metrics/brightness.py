"""Distribution of lightness: how bright an image is and how its lights and darks are distributed."""

import torch
from jaxtyping import Float
from torch import Tensor

LEVELS = 64  # quantiles of lightness
UNRELATED_DISTANCE = 0.251
"""Mean distance of two unrelated images, measured as `palette.UNRELATED_DISTANCE`."""


def lightness_quantiles(lab: Float[Tensor, "3 height width"]) -> Float[Tensor, "levels"]:
    """Compute the quantiles of OKLab lightness, which describe mean, contrast, black and white point.

    Args:
        lab: An image as `pixels.to_small_oklab` returns it.

    Returns:
        `LEVELS` quantiles in 0..1, dark to bright.
    """
    ordered = lab[0].flatten().sort().values
    positions = (torch.arange(LEVELS) + 0.5) / LEVELS * len(ordered)
    return ordered[positions.long()]


def distance(one: Float[Tensor, "levels"], other: Float[Tensor, "levels"]) -> float:
    """Compute d = mean |qᵢ − q′ᵢ|, the Wasserstein distance W₁ of the two distributions of lightness."""
    return (one - other).abs().mean().item()
