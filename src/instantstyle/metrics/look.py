"""Style and content leakage without any network: look by palette, texture and light; leakage by edges.

    s = 1 − d / d̄          for palette, texture and light, distances d
    s = (c − c̄) / (1 − c̄)  for drawing and layout, cosines c

1 is the same image, 0 the mean of two unrelated images (d̄: `UNRELATED_DISTANCE` of each part, c̄:
`UNRELATED_SIMILARITY`), and values below 0 are farther apart. No part of the look depends on what is shown or
where. A look is always reported together with `drawing`, which rises where the reference's content leaks.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from . import brightness, composition, palette, texture
from .pixels import common_side, to_small_oklab

NAME = "pixels"
"""Name of the model beside these scores, which use none."""

PARTS = ("palette", "texture", "light")
"""The parts whose mean is the look."""

_NAMES = (*PARTS, "drawing", "layout")


@dataclass(frozen=True)
class LookScores:
    """One number per image, −∞..1; the module's docstring defines 0 and 1."""

    palette: Float[Tensor, " image"]
    texture: Float[Tensor, " image"]
    light: Float[Tensor, " image"]
    drawing: Float[Tensor, " image"]
    """Edges shared with the reference: content leakage, where prompt and reference show different things."""
    layout: Float[Tensor, " image"]
    """Edges are where the reference has them."""

    @property
    def look(self) -> Float[Tensor, " image"]:
        """The mean of palette, texture and light."""
        return torch.stack([getattr(self, part) for part in PARTS]).mean(0)

    def to_dict(self) -> dict[str, list[float]]:
        """Return the look and every part by name."""
        return {name: values.tolist() for name, values in {"look": self.look, **asdict(self)}.items()}


@dataclass(frozen=True)
class ImageFeatures:
    """The descriptors of an image that these scores compare."""

    palette: Tensor
    texture: Tensor
    light: Tensor
    drawing: Tensor
    layout: Tensor


def score_look(images: Sequence[Image.Image], reference: Image.Image) -> LookScores:
    """Score images against a reference; all are compared at the size of the smallest.

    Args:
        images: Images of any mode and size.
        reference: The reference image.

    Returns:
        Five scores per image, and their look.
    """
    side = common_side([*images, reference])
    target = extract_features(reference, side)
    return compare_to([extract_features(image, side) for image in images], target)


def extract_features(image: Image.Image, side: int) -> ImageFeatures:
    """Compute the descriptors of an image resized to about `side`² pixels."""
    small = to_small_oklab(image, side)
    return ImageFeatures(
        palette.extract_palette(small),
        texture.texture_descriptor(small),
        brightness.lightness_quantiles(small),
        composition.edge_histograms(small),
        composition.edge_map(small),
    )


def compare_to(images: Sequence[ImageFeatures], other: ImageFeatures) -> LookScores:
    """Compare each image with another one."""
    rows = [compare_pair(image, other) for image in images]
    return LookScores(**{name: torch.tensor([row[name] for row in rows]) for name in _NAMES})


def compare_pair(one: ImageFeatures, other: ImageFeatures) -> dict[str, float]:
    """Compute palette, texture, light, drawing and layout of two images; symmetric."""
    unrelated = composition.UNRELATED_SIMILARITY
    drawing = composition.similarity(one.drawing, other.drawing)
    layout = composition.similarity(one.layout, other.layout)
    return {
        "palette": 1 - palette.distance(one.palette, other.palette) / palette.UNRELATED_DISTANCE,
        "texture": 1 - texture.distance(one.texture, other.texture) / texture.UNRELATED_DISTANCE,
        "light": 1 - brightness.distance(one.light, other.light) / brightness.UNRELATED_DISTANCE,
        "drawing": (drawing - unrelated["drawing"]) / (1 - unrelated["drawing"]),
        "layout": (layout - unrelated["layout"]) / (1 - unrelated["layout"]),
    }


def score_consistency(images: Sequence[Image.Image]) -> dict[str, float]:
    """Compute how alike the images of a set are: the mean of each score over all pairs.

    Meant for images of different prompts: where `drawing` is high too, the set repeats one thing.

    Args:
        images: The set.

    Returns:
        Means by score; empty for a set of one image.
    """
    side = common_side(images)
    scores = compare_within_set([extract_features(image, side) for image in images])
    return {name: sum(values) / len(values) for name, values in scores.items()}


def compare_within_set(images: Sequence[ImageFeatures]) -> dict[str, list[float]]:
    """Compute each image's mean scores against the other images of its set.

    Args:
        images: Descriptors of the set.

    Returns:
        By score, one mean per image; empty for a set of one image.
    """
    if len(images) < 2:
        return {}
    means = {name: [0.0] * len(images) for name in ("look", *_NAMES)}
    for i in range(len(images)):
        for j in range(i):
            scores = compare_pair(images[i], images[j])
            scores["look"] = sum(scores[part] for part in PARTS) / len(PARTS)
            for name, value in scores.items():
                means[name][i] += value / (len(images) - 1)
                means[name][j] += value / (len(images) - 1)
    return means
