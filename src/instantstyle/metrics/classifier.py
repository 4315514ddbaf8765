"""Classifier of the synthetic dataset: predicts thing class, layout and look of an image.

It is trained separately and never used for generation. Its accuracy on held-out scenes is stated in the model
card beside every score computed with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from ..synthetic import FILLS, GROUNDS, LAYOUTS, OUTLINES, THINGS, Scenes

ATTRIBUTES = {"thing": THINGS, "layout": LAYOUTS, "ground": GROUNDS, "fill": FILLS, "outline": OUTLINES}
"""Names of the classes of each attribute."""
CLASS_COUNTS = {name: len(classes) for name, classes in ATTRIBUTES.items()}
INPUT_SIZE = 128
"""Side in px of the images that the network takes; others are averaged down or up to it."""
COARSE_SIZE = 64
"""Side in px to which they are averaged for all features except those of fine textures."""
FINE_WIDTHS = (24, 48)
"""Channels of the two convolutional levels that read fine textures at `INPUT_SIZE`."""


def attribute_labels(scenes: Scenes) -> dict[str, Int[Tensor, " scene"]]:
    """Return the true class of each attribute, under the names of `ATTRIBUTES`."""
    look = scenes.look
    labels = scenes.thing, scenes.layout.category, look.ground, look.fill, look.outline
    return dict(zip(ATTRIBUTES, labels, strict=True))


@dataclass(frozen=True)
class Predictions:
    """What the classifier predicts for a batch of images."""

    logits: dict[str, Float[Tensor, "image _"]]
    """By attribute, a logit per class."""
    palette: Float[Tensor, "image 5 3"]
    """sRGB of the five colours of a look."""
    inside: Float[Tensor, "image 16 16"] | None = None
    """Segmentation logits, above 0 inside the thing. An auxiliary target of training; no score uses it."""

    def __getitem__(self, attribute: str) -> Int[Tensor, " image"]:
        """Return the most likely class of an attribute."""
        return self.logits[attribute].argmax(-1)


class SyntheticClassifier(nn.Module):
    """Strided residual convolutions, then a perceptron on every position and on their mean.

    Textures are faint. The network therefore also takes the image with its local contrast normalized, and
    its fine features are averaged separately inside and outside the thing. Levels of their own read textures
    whose period is below two px of the coarse image.

    Args:
        widths: Channels of the four convolutional levels of the coarse image.
        class_counts: Number of classes of each attribute.
        fine_widths: Channels of the levels of the full image; none for a network without them.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 128, 192),
        class_counts: Mapping[str, int] = CLASS_COUNTS,
        fine_widths: tuple[int, ...] = FINE_WIDTHS,
    ) -> None:
        super().__init__()
        self.stem, self.mixers = _make_levels(widths)
        self.fine_stem, self.fine_mixers = _make_levels(fine_widths)
        self.inside = nn.Conv2d(widths[1], 1, 1)
        averaged = widths[0] + widths[1] + sum(fine_widths)
        self.hidden = nn.Linear(widths[-1] * 17 + 2 * averaged, 256)
        # The name is part of the keys in classifier.safetensors.
        self.facts = nn.ModuleDict({name: nn.Linear(256, count) for name, count in class_counts.items()})
        self.palette = nn.Linear(256, 15)

    def forward(self, images: Float[Tensor, "image 3 height width"]) -> Predictions:
        """Classify images.

        Args:
            images: RGB in 0..1; averaged down or up to `INPUT_SIZE`.
        """
        images = F.adaptive_avg_pool2d(images, INPUT_SIZE)
        levels = _extract_features(F.adaptive_avg_pool2d(images, COARSE_SIZE), self.stem, self.mixers)
        fine = _extract_features(images, self.fine_stem, self.fine_mixers)
        inside, last = self.inside(levels[1]), levels[-1]
        textures = [_mean_inside_and_outside(F.gelu(level), inside.sigmoid()) for level in (*levels[:2], *fine)]
        x = F.gelu(self.hidden(torch.cat([last.flatten(1), last.mean((2, 3)), *textures], 1)))
        palette = self.palette(x).unflatten(1, (5, 3)) + 0.5
        return Predictions({name: head(x) for name, head in self.facts.items()}, palette, inside[:, 0])


def _make_levels(widths: tuple[int, ...]) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Make the strided convolutions and the residual branches of levels that halve the side of an image."""
    steps = zip((6, *widths), widths, strict=False)
    strided = nn.ModuleList(nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in steps)
    return strided, nn.ModuleList(_mixer(width) for width in widths)


def _extract_features(
    images: Float[Tensor, "image 3 h w"], strided: nn.ModuleList, mixers: nn.ModuleList
) -> list[Tensor]:
    """Compute the features of each level, of half as many cells a side as the one before."""
    x = torch.cat([images * 2 - 1, normalize_local_contrast(images)], 1)
    features = []
    for down, mix in zip(strided, mixers, strict=True):
        x = down(x)
        x = x + mix(x)
        features.append(x)
    return features


def normalize_local_contrast(
    images: Float[Tensor, "image 3 h w"], min_variance: float = 0.0
) -> Float[Tensor, "image 3 h w"]:
    """Subtract the mean of the 9 × 9 px around each pixel and divide by their standard deviation.

    Args:
        images: RGB.
        min_variance: Least variance; above 0, so that the gradient is finite where an image is flat.
    """

    def local_mean(planes: Tensor) -> Tensor:
        padded = F.pad(planes, (4, 4, 4, 4), mode="reflect")
        return F.avg_pool2d(F.avg_pool2d(padded, (9, 1), stride=1), (1, 9), stride=1)  # faster than 9 × 9 at once

    mean = local_mean(images)
    variance = (local_mean(images**2) - mean**2).clamp(min=min_variance)
    return (images - mean) / (variance.sqrt() + 0.02)


def _mean_inside_and_outside(
    features: Float[Tensor, "image channel h w"], inside: Float[Tensor, "image 1 16 16"]
) -> Float[Tensor, "image channels"]:
    """Average features over the thing and over the background, and concatenate both."""
    weight = F.interpolate(inside, features.shape[-2:])
    parts = [(features * region).sum((2, 3)) / region.sum((2, 3)).clamp(min=1) for region in (weight, 1 - weight)]
    return torch.cat(parts, 1)


def _mixer(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.GroupNorm(8, width), nn.GELU(), nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(8, width), nn.GELU(), nn.Conv2d(width, width, 3, padding=1),
    )  # fmt: skip


@cache
def load_classifier() -> SyntheticClassifier:
    """Load the trained classifier that is part of this package; cached."""
    weights = load_file(Path(__file__).with_name("classifier.safetensors"))
    # The dataset's lists grow only at their ends: an earlier classifier predicts the first classes of each.
    counts = {name: len(weights[f"facts.{name}.bias"]) for name in ATTRIBUTES}
    # One trained on images of `COARSE_SIZE` has no levels for fine textures.
    fine_widths = FINE_WIDTHS if "fine_stem.0.weight" in weights else ()
    network = SyntheticClassifier(class_counts=counts, fine_widths=fine_widths)
    network.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return network.eval().requires_grad_(False)
