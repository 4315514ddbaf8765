"""A cache of rendered and encoded scenes: rendering and encoding take half as long as a training step."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from instantstyle.synthetic import Scenes, Scope, sample_scenes
from training.mini.precision import autocast_if_faster
from training.mini.settings import IMAGE_SIZE
from training.mini.vae import Images

BATCHES, USES = 192, 8  # batches in the cache, and how often each image is used on average
CHUNK_SIZE = {"cpu": 64, "cuda": 512}  # images rendered and encoded at once

ImageEncoder = Callable[[Images], Tensor]
SceneEncoder = Callable[[Scenes, Generator], Sequence[Tensor]]


def encode_nothing(scenes: Scenes, generator: Generator) -> Sequence[Tensor]:
    """Return no tensors: the scenes are not encoded."""
    return ()


class SceneCache:
    """Samples training scenes with encodings of their images and descriptions.

    The cache is refilled after each image has been used `uses` times on average.

    Args:
        scope: What the scenes may show.
        image_encoders: Frozen models, applied to the rendered images.
        scene_encoder: Computes further tensors from the scenes themselves, as encoded captions.
        size: Side of the rendered images in px.
        uses: How often each image is used on average.
    """

    def __init__(
        self,
        scope: Scope,
        image_encoders: Sequence[ImageEncoder],
        scene_encoder: SceneEncoder = encode_nothing,
        size: int = IMAGE_SIZE,
        uses: int = USES,
    ) -> None:
        self.scope, self.size, self.uses, self.remaining = scope, size, uses, 0
        self.image_encoders, self.scene_encoder = image_encoders, scene_encoder

    def sample(self, count: int, generator: Generator) -> tuple[Scenes, list[Tensor]]:
        """Sample scenes with replacement.

        Args:
            count: Number of scenes.
            generator: Source of random numbers.

        Returns:
            The scenes, and the tensors of the image encoders, then those of the scene encoder.
        """
        if self.remaining <= 0:
            self._refill(count * BATCHES, generator)
        self.remaining -= count
        rows = torch.randint(len(self.scenes), (count,), generator=generator)
        return self.scenes[rows], [encoding[rows] for encoding in self.encodings]

    def _refill(self, count: int, generator: Generator) -> None:
        self.scenes, self.remaining = sample_scenes(count, generator, self.scope), count * self.uses
        size = CHUNK_SIZE[torch.get_default_device().type]
        with autocast_if_faster():
            chunks = [self._encode(self.scenes[start : start + size], generator) for start in range(0, count, size)]
        self.encodings = [torch.cat(parts) for parts in zip(*chunks, strict=True)]

    def _encode(self, scenes: Scenes, generator: Generator) -> list[Tensor]:
        images = scenes.render(self.size, generator)
        encoded = [encode(images) for encode in self.image_encoders]
        return [part.float() for part in (*encoded, *self.scene_encoder(scenes, generator))]
