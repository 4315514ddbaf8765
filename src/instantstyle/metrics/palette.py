"""Palette: which colours a picture has, whatever they are on and nearly however much of each."""

import torch
from jaxtyping import Float
from torch import Tensor

COLOURS = 6
"""One more than a look of the small world has; posters and prints are told apart by as few."""

UNRELATED = 0.162
"""Mean distance of two unrelated pictures; `tests/metrics/test_look.py` says of which, and measures it."""

_WEIGHTS = (1.0, 2.0, 2.0)
"""a and b count twice beside lightness, as in ΔE-OK2: OKLab alone puts a red and a green of equal
lightness no farther apart than two greys."""

_ROUNDS = 10  # of k-means: afterwards the centres of all pictures tried moved by less than can be seen


def palette(lab: Float[Tensor, "3 height width"]) -> Float[Tensor, "colours 4"]:
    """Each colour's place in weighted OKLab, and √ of its share of the picture.

    k-means from far-apart beginnings, so that equal pictures have equal palettes. √: a small thing's colour
    belongs to the style as well, and a style should not change with the size of what is shown.
    """
    points = (lab.flatten(1) * torch.tensor(_WEIGHTS)[:, None]).T
    centres = _spread(points)
    for _ in range(_ROUNDS):
        nearest = torch.cdist(points, centres).argmin(1)
        counts = nearest.bincount(minlength=COLOURS)
        sums = torch.zeros_like(centres).index_add(0, nearest, points)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
    return torch.cat([centres, counts.div(len(points)).sqrt()[:, None]], 1)


def apart(mine: Float[Tensor, "colours 4"], other: Float[Tensor, "colours 4"]) -> float:
    """d = ½ Σᵢ wᵢ minⱼ |cᵢ − c′ⱼ| / Σᵢ wᵢ + the same from the other side: how far to the nearest colour."""
    gaps = torch.cdist(mine[:, :3], other[:, :3])
    sides = (gaps.amin(1), mine[:, 3]), (gaps.amin(0), other[:, 3])
    return sum(((gap * weight).sum() / weight.sum()).item() for gap, weight in sides) / 2


def _spread(points: Float[Tensor, "points 3"]) -> Float[Tensor, "colours 3"]:
    """The point farthest from the mean, then each time the one farthest from all before."""
    first = (points - points.mean(0)).norm(dim=1).argmax()
    chosen = [points[first]]
    gaps = (points - chosen[0]).norm(dim=1)
    for _ in range(COLOURS - 1):
        chosen.append(points[gaps.argmax()])
        gaps = torch.minimum(gaps, (points - chosen[-1]).norm(dim=1))
    return torch.stack(chosen)
