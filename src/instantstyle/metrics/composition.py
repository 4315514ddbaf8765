"""What a style score must not follow: the drawing of what is shown, and where in the picture it is.

Both look at edges, blurred so far that fine texture vanishes, and at their local or overall contrast only,
so that colours play little part.
"""

from math import ceil, pi

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SIDE = 64  # px: the whole picture squeezed into a square
CELLS, TURNS = 8, 6  # histograms of edge directions: so many cells a side, so many directions
UNRELATED = {"drawing": 0.101, "layout": 0.359}
"""Mean cosine of two unrelated pictures; as `palette.UNRELATED`."""

_FINE = 2.0  # px of blur: of the small world's patterns, nothing is left
_EVEN = 6.0  # px: contrast is evened out over so wide a neighbourhood
_FAINT = 0.02  # edges weaker than this, in OKLab per pixel, are left weak


def drawing(lab: Float[Tensor, "3 height width"]) -> Float[Tensor, "cells"]:
    """Histograms of edge directions in each cell (HOG, Dalal & Triggs 2005), centred, of length 1.

    It knows a subject that stays where it was; one that is moved elsewhere it does not know again.
    """
    strength, angle = edges(lab)
    strength = strength / (blurred(strength[None], _EVEN)[0] + _FAINT)
    votes = [strength * torch.cos(angle - turn * pi / TURNS).abs() ** TURNS for turn in range(TURNS)]
    return _centred(blurred(F.adaptive_avg_pool2d(torch.stack(votes), CELLS), 0.5))


def layout(lab: Float[Tensor, "3 height width"]) -> Float[Tensor, "places"]:
    """A blurred map of where the edges are, whatever they outline; centred, of length 1."""
    strength, _ = edges(lab)
    # 0.2 of the strongest: what is plainly there counts nearly equally.
    there = strength / (strength + 0.2 * strength.max() + 1e-6)
    return _centred(blurred(there[None], _EVEN))


def alike(mine: Float[Tensor, "places"], other: Float[Tensor, "places"]) -> float:
    """cos."""
    return (mine @ other).item()


def edges(
    lab: Float[Tensor, "3 height width"],
) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]]:
    """Strength and direction (radians) of the change of colour at each pixel of the squeezed picture."""
    small = F.interpolate(lab[None], (SIDE, SIDE), mode="area")[0]
    small = blurred(small * torch.tensor((1.0, 2.0, 2.0))[:, None, None], _FINE)
    across = (small[:, :, 2:] - small[:, :, :-2])[:, 1:-1]
    down = (small[:, 2:] - small[:, :-2])[:, :, 1:-1]
    power = across**2 + down**2
    plainest = power.argmax(0, keepdim=True)
    angle = torch.atan2(down.gather(0, plainest)[0], across.gather(0, plainest)[0])
    return power.sum(0).sqrt(), angle


def blurred(planes: Float[Tensor, "plane height width"], sigma: float) -> Float[Tensor, "plane height width"]:
    """Gaussian, the border repeated."""
    reach = ceil(3 * sigma)
    bell = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    bell = bell / bell.sum()
    wide = F.pad(planes[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(wide, bell.view(1, 1, 1, -1)), bell.view(1, 1, -1, 1))[:, 0]


def _centred(map: Float[Tensor, "plane height width"]) -> Float[Tensor, "places"]:
    return F.normalize((map - map.mean()).flatten(), dim=0)
