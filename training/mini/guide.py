"""Stage `guide`: a classifier of images that guides the training of the UNet.

It reads what the classifier of stage `classifier` reads, but shares neither weights nor architecture with it: that one
measures the bundled model, and may not take part in its training.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from instantstyle.metrics import attribute_labels
from instantstyle.metrics.classifier import CLASS_COUNTS, normalize_local_contrast
from training.mini.classifier import ATTRIBUTE_WEIGHTS, object_coverage, sample_classified_images
from training.mini.clip import augment
from training.mini.frozen_models import LatentCodec
from training.mini.precision import autocast_if_faster
from training.mini.pyramid import Pyramid
from training.mini.settings import IMAGE_SIZE
from training.mini.stage import Scalar, Stage, masked_mean, sum_losses
from training.mini.vae import Images

WIDTHS, BLOCKS = (32, 64, 128, 192), (2, 2, 2, 1)
INSIDE_LEVEL = 2  # whose cells are those of `object_coverage`; textures are read from this level and those before
HIDDEN_WIDTH, PLACE_WIDTH = 512, 48
MIN_VARIANCE = 1e-5  # of local contrast: the guide's gradient is taken with respect to images, which may be flat

Logits = dict[str, Float[Tensor, "image class"]]


class GuideClassifier(nn.Module):
    """Reads the attributes of an image, and where its objects are."""

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = Pyramid(nn.Conv2d(6, WIDTHS[0], 5, 2, 2), WIDTHS, BLOCKS)
        side = IMAGE_SIZE >> len(WIDTHS)
        textured = WIDTHS[: INSIDE_LEVEL + 1]
        pooled = self.pyramid.pooled_width + side**2 * PLACE_WIDTH + 2 * sum(textured)
        self.hidden = nn.Linear(pooled, HIDDEN_WIDTH)
        self.place = nn.Conv2d(WIDTHS[-1], PLACE_WIDTH, 1)
        self.classifiers = nn.ModuleDict(
            {name: nn.Linear(HIDDEN_WIDTH, count) for name, count in CLASS_COUNTS.items()}
        )
        self.inside = nn.Conv2d(WIDTHS[INSIDE_LEVEL], 1, 1)
        self.mixers = nn.ModuleList(nn.Conv2d(width, width, 1) for width in textured)

    def forward(self, images: Images) -> tuple[Logits, Float[Tensor, "image 16 16"]]:
        """Return the logits of each attribute's classes, and logits of whether a cell is inside an object."""
        features = self.pyramid(torch.cat([images * 2 - 1, normalize_local_contrast(images, MIN_VARIANCE)], 1))
        inside = self.inside(features[INSIDE_LEVEL])
        parts = [self.pyramid.pool(features), F.silu(self.place(features[-1])).flatten(1)]
        for mix, level in zip(self.mixers, features, strict=False):
            parts += mean_and_deviation(F.gelu(mix(level)), inside.detach().sigmoid())
        hidden = F.silu(self.hidden(torch.cat(parts, 1)))
        logits = {name: classify(hidden).float() for name, classify in self.classifiers.items()}
        return logits, inside[:, 0].float()


def mean_and_deviation(
    features: Float[Tensor, "image channel y x"], inside: Float[Tensor, "image 1 16 16"]
) -> tuple[Float[Tensor, "image channel"], Float[Tensor, "image channel"]]:
    """Return the mean of features inside the object, and their mean absolute deviation from it."""
    weight = F.interpolate(inside, features.shape[-2:])
    weight = weight / weight.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (features * weight).sum((2, 3), keepdim=True)
    return mean[:, :, 0, 0], ((features - mean).abs() * weight).sum((2, 3))


class GuideStage(Stage[GuideClassifier]):
    """Trains the guide."""

    def __init__(self, folder: Path, name: str = "guide") -> None:
        self.name, self.module = name, GuideClassifier()
        self.codec = LatentCodec(folder)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Losses of all attributes and of the object's area; accuracies are reported."""
        scenes, images = sample_classified_images(self.codec, batch, generator)
        with autocast_if_faster():
            logits, inside = self.module(augment(images, generator))
        labels = attribute_labels(scenes)
        stated = {name: torch.ones(batch, dtype=torch.bool) for name in labels}
        area = F.binary_cross_entropy_with_logits(inside, object_coverage(scenes))
        accuracy = {name: (logits[name].argmax(1) == classes).float().mean() for name, classes in labels.items()}
        return classification_loss(logits, labels, stated, ATTRIBUTE_WEIGHTS) + area, accuracy


def classification_loss(
    logits: Mapping[str, Float[Tensor, "image class"]],
    labels: Mapping[str, Tensor],
    stated: Mapping[str, Bool[Tensor, " image"]],
    weights: Mapping[str, float],
) -> Scalar:
    """Return the weighted sum of the cross-entropies of all attributes, each averaged where it is stated.

    Args:
        logits: By attribute, a logit for each class.
        labels: By attribute, the true class.
        stated: By attribute, whether it counts.
        weights: By attribute, its weight; 1 where it is missing.
    """
    return sum_losses(
        weights.get(name, 1.0) * masked_mean(stated[name], F.cross_entropy(each, labels[name], reduction="none"))
        for name, each in logits.items()
    )
