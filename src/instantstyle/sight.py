"""What the image encoder makes of references: once for each picture, then remembered."""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from .encoders import ImageEncoder

REMEMBERED = 64
"""Pictures whose embeddings are kept: 5 kB each for a base adapter, at most 1.3 MB on patch features."""


class Sight:
    """An image encoder for one kind of adapter, with a memory of the pictures that it has seen.

    With `keep_encoder` off the encoder's weights are freed after each look; a picture that is remembered
    needs them no more.
    """

    def __init__(self, encoder: ImageEncoder, *, of_patches: bool, keep_encoder: bool = True) -> None:
        self.encoder, self.of_patches, self.keep_encoder = encoder, of_patches, keep_encoder
        self._seen: OrderedDict[tuple[str, str], Tensor] = OrderedDict()
        self._blank: Tensor | None = None

    def look(
        self, images: Sequence[Image.Image], crop: str = "center"
    ) -> tuple[Float[Tensor, "images *features dim"], Float[Tensor, "*features dim"]]:
        """Raw projected embeddings, or for adapters on patches the patches' features; and no picture's."""
        found = torch.stack([self._of(image, crop) for image in images])
        blank = self._of_no_picture()
        if not self.keep_encoder:
            self.encoder.free()
        return found, blank

    def _of_no_picture(self) -> Float[Tensor, "*features dim"]:
        """Zeros for a base adapter, not the mean: it was trained against zeros."""
        if self._blank is None:
            width = self.encoder.projection_dim
            self._blank = self.encoder.blank_features() if self.of_patches else torch.zeros(width)
        return self._blank

    def _of(self, image: Image.Image, crop: str) -> Float[Tensor, "*features dim"]:
        """One by one, so that a picture's embedding depends on no other beside it."""
        key = (_fingerprint(image), crop)
        if key not in self._seen:
            look = self.encoder.features if self.of_patches else self.encoder.embed
            self._seen[key] = look([image], crop)[0]
        self._seen.move_to_end(key)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return self._seen[key]


def _fingerprint(image: Image.Image) -> str:
    """Of the pixels, whatever file they came from."""
    told = f"{image.mode} {image.size}".encode()
    return sha256(told + image.tobytes()).hexdigest()
