"""Palette: the colours of an image, independent of their positions and largely of their shares."""

import torch
from jaxtyping import Float
from torch import Tensor

COLOURS = 6
"""One more than a look of the synthetic dataset has; as few tell posters and prints apart."""

UNRELATED_DISTANCE = 0.162
"""Mean distance of two unrelated images; `tests/metrics/test_look.py` names the images and measures it."""

_WEIGHTS = (1.0, 2.0, 2.0)
"""a and b count twice relative to lightness, as in ΔE-OK2: unweighted OKLab places a red and a green of equal
lightness no farther apart than two greys."""

_ITERATIONS = 10  # of k-means; later ones moved the centres of all images tried by less than is visible


def extract_palette(lab: Float[Tensor, "3 height width"]) -> Float[Tensor, "colours 4"]:
    """Cluster the pixels of an image by k-means.

    The initial centres are chosen far apart and without randomness, so that equal images have equal palettes.
    Shares enter as their square roots: the colour of a small object belongs to the style as well, and a style
    should not change with the size of the object.

    Args:
        lab: An image as `pixels.to_small_oklab` returns it.

    Returns:
        For each colour its position in weighted OKLab (3 numbers) and √ of its share of the image.
    """
    points = (lab.flatten(1) * torch.tensor(_WEIGHTS)[:, None]).T
    centres = _farthest_points(points)
    for _ in range(_ITERATIONS):
        nearest = torch.cdist(points, centres).argmin(1)
        counts = nearest.bincount(minlength=COLOURS)
        sums = torch.zeros_like(centres).index_add(0, nearest, points)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
    return torch.cat([centres, counts.div(len(points)).sqrt()[:, None]], 1)


def distance(one: Float[Tensor, "colours 4"], other: Float[Tensor, "colours 4"]) -> float:
    """Compute the weighted mean distance to the other palette's nearest colour, in both directions.

    d = ½ Σᵢ wᵢ minⱼ |cᵢ − c′ⱼ| / Σᵢ wᵢ + ½ Σⱼ w′ⱼ minᵢ |cᵢ − c′ⱼ| / Σⱼ w′ⱼ
    """
    gaps = torch.cdist(one[:, :3], other[:, :3])
    sides = (gaps.amin(1), one[:, 3]), (gaps.amin(0), other[:, 3])
    return sum(((gap * weight).sum() / weight.sum()).item() for gap, weight in sides) / 2


def _farthest_points(points: Float[Tensor, "points 3"]) -> Float[Tensor, "colours 3"]:
    """Choose the point farthest from the mean, then repeatedly the one farthest from all chosen ones."""
    first = (points - points.mean(0)).norm(dim=1).argmax()
    chosen = [points[first]]
    gaps = (points - chosen[0]).norm(dim=1)
    for _ in range(COLOURS - 1):
        chosen.append(points[gaps.argmax()])
        gaps = torch.minimum(gaps, (points - chosen[-1]).norm(dim=1))
    return torch.stack(chosen)
