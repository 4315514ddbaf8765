"""Light: how bright a picture is and how its lights and darks are spread."""

import torch
from jaxtyping import Float
from torch import Tensor

LEVELS = 64  # quantiles of lightness
UNRELATED = 0.251
"""As `palette.UNRELATED`."""


def light(lab: Float[Tensor, "3 height width"]) -> Float[Tensor, "levels"]:
    """Quantiles of OKLab lightness, dark to bright: mean, contrast, and where black and white lie."""
    ordered = lab[0].flatten().sort().values
    places = (torch.arange(LEVELS) + 0.5) / LEVELS * len(ordered)
    return ordered[places.long()]


def apart(mine: Float[Tensor, "levels"], other: Float[Tensor, "levels"]) -> float:
    """d = mean |qᵢ − q′ᵢ|: the Wasserstein distance W₁ of the two distributions of lightness."""
    return (mine - other).abs().mean().item()
