"""Stage `classifier`: the network that reads object, layout and look from images, decoded ones included."""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from instantstyle.metrics import SyntheticClassifier, attribute_labels
from instantstyle.synthetic import MINI_SCOPE, Scenes, sample_scenes
from instantstyle.synthetic.render import signed_distances
from instantstyle.synthetic.things import load_shape_fields
from training.mini.clip import augment
from training.mini.frozen_models import LatentCodec
from training.mini.precision import autocast_if_faster
from training.mini.settings import IMAGE_SIZE
from training.mini.stage import Scalar, Stage, sum_losses
from training.mini.vae import Images

ATTRIBUTE_WEIGHTS = {"ground": 3, "fill": 3}  # the faintest attributes, and the last to be learned
IMAGES_PER_DECODED = 4  # one of so many images passes through the autoencoder, as all classified images did


class ClassifierStage(Stage[SyntheticClassifier]):
    """Trains the classifier."""

    def __init__(self, folder: Path, name: str = "classifier") -> None:
        self.name, self.module = name, SyntheticClassifier()
        self.codec = LatentCodec(folder)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Losses of all attributes, the palette and the object's area; accuracies are reported."""
        scenes, images = sample_classified_images(self.codec, batch, generator)
        with autocast_if_faster():
            predictions = self.module(augment(images, generator))
        labels = attribute_labels(scenes)
        attribute_losses = sum_losses(
            ATTRIBUTE_WEIGHTS.get(name, 1) * F.cross_entropy(predictions.logits[name].float(), classes)
            for name, classes in labels.items()
        )
        palette = F.mse_loss(predictions.palette.float(), scenes.look.palette)
        accuracy = {name: (predictions[name] == classes).float().mean() for name, classes in labels.items()}
        area = F.binary_cross_entropy_with_logits(predictions.inside.float(), object_coverage(scenes))
        return attribute_losses + 20 * palette + 3 * area, dict(palette=palette.detach(), **accuracy)


def sample_classified_images(codec: LatentCodec, count: int, generator: Generator) -> tuple[Scenes, Images]:
    """Sample scenes and render them, some through the autoencoder."""
    # Includes held-out classes: otherwise the classifier learns that they do not occur.
    scenes = sample_scenes(count, generator, MINI_SCOPE, held_out=None)
    images, decoded = scenes.render(IMAGE_SIZE, generator), count // IMAGES_PER_DECODED
    images[:decoded] = codec.decode(codec.encode(images[:decoded]))
    return scenes, images


def object_coverage(scenes: Scenes) -> Float[Tensor, "scene 16 16"]:
    """Return how far each cell lies inside the object, 0..1."""
    shape, _ = signed_distances(load_shape_fields(scenes.thing.device)[scenes.thing], scenes.layout, 16)
    return torch.sigmoid(shape * 20)
