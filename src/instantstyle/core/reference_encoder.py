"""Embeddings of reference images: computed once for each image, then cached."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from threading import RLock

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import CheckpointError, ModelError, StyleError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..synthetic import MINI_SCOPE, sample_scenes, to_pil_image
from .content_removal import auto_content_scale
from .image_encoder import ImageEncoder
from .style import Style

ContentScale = float | str
"""How much content is removed; `"auto"` selects `ReferenceEncoder.auto_content_scale`."""

CACHE_SIZE = 64
"""Images whose embeddings are kept: 5 kB each for a base adapter; for patch features in float32 1.3 MB (ViT-H,
257 × 1280) to 3.4 MB (SigLIP at 384 px, 729 × 1152)."""

AUTO_REMOVALS = ("subtract", "project")
"""Removals whose `"auto"` scale has a closed form."""

NUM_UNRELATED = 16
"""Number of unrelated images: one that happens to show the content does not move the median of so many."""

UNRELATED_SIDE = 192
"""Side of the unrelated images in pixels: after CLIP's resizing they are as sharp as photos."""


class ReferenceEncoder:
    """An image encoder for one kind of adapter, with a cache of embeddings.

    With `keep_encoder` off the encoder's weights are freed after each use; cached images do not need them.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        *,
        uses_patch_features: bool,
        blank_is_black: bool = False,
        keep_encoder: bool = True,
    ) -> None:
        self.encoder = encoder
        self.uses_patch_features = uses_patch_features
        self.blank_is_black = blank_is_black
        self.keep_encoder = keep_encoder
        self._cache: OrderedDict[tuple[str, str], Tensor] = OrderedDict()
        self._unconditional: Tensor | None = None
        self._unrelated: Tensor | None = None
        # Held while images are encoded: another thread may free the weights.
        self._lock = RLock()

    @classmethod
    def for_checkpoint(
        cls, checkpoint: IPAdapterCheckpoint | None, encoder: object, keep_encoder: bool = True
    ) -> "ReferenceEncoder | None":
        """Open the image encoder that an adapter was trained with.

        Args:
            checkpoint: The adapter; None returns None.
            encoder: A model, an `ImageEncoder`, or the path of a folder or weights file.
            keep_encoder: Whether to keep the weights between uses.

        Raises:
            CheckpointError: The encoder cannot be read, or has another width or size than the adapter needs.
            ModelError: There is no encoder.
        """
        if checkpoint is None:
            return None
        if encoder is None:
            raise ModelError(
                "There is no image encoder for reference images; pass image_encoder=, a model or a folder."
            )
        opened = ImageEncoder.open(encoder)
        opened.check_fits(checkpoint.projection_type, checkpoint.embedding_dim)
        size = checkpoint.architecture.image_size if checkpoint.architecture else None
        if size not in (None, opened.image_size):
            raise CheckpointError(
                f"{checkpoint.name} was trained with an image encoder for images of {size} px; this one reads "
                f"{opened.image_size} px. Use the encoder that the adapter was trained with."
            )
        return cls(
            opened,
            uses_patch_features=not checkpoint.reads_embedding,
            blank_is_black=checkpoint.has_biases,
            keep_encoder=keep_encoder,
        )

    def encode(
        self, images: Sequence[Image.Image], crop: str = "center"
    ) -> tuple[Float[Tensor, "images *features dim"], Float[Tensor, "*features dim"]]:
        """Encode images one by one, so that an embedding does not depend on the images beside it.

        Args:
            images: RGB images.
            crop: How they are made square.

        Returns:
            Raw projected embeddings, or patch features for adapters that read those; and the unconditional
            input: zeros, which base adapters were trained with, or the features of an all-zero image. With XLabs'
            adapters for FLUX.1 it is the embedding of a black image, as in their own code and in diffusers.
        """
        with self._lock:
            return self._encode(images, crop)

    def _encode(self, images: Sequence[Image.Image], crop: str) -> tuple[Tensor, Tensor]:
        encode = self.encoder.features if self.uses_patch_features else self.encoder.embed
        embeds: list[Tensor] = []
        for image in images:
            # By pixels, from whatever file they come.
            pixels = f"{image.mode} {image.size}".encode() + image.tobytes()
            key = (sha256(pixels).hexdigest(), crop)
            if key not in self._cache:
                self._cache[key] = encode([image], crop)[0]
            self._cache.move_to_end(key)
            embeds.append(self._cache[key])
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        if self._unconditional is None:
            plain = self._embed_black if self.blank_is_black else self._zeros
            blank = self.encoder.blank_features if self.uses_patch_features else plain
            self._unconditional = blank()
        self._free_encoder()
        return torch.stack(embeds), self._unconditional

    def auto_content_scale(self, style: Style) -> float:
        """Return the least scale after which no reference is closer to the content than unrelated images are.

        "Unrelated" is the median cosine between the content and images of the synthetic dataset; the equation is
        that of `content_removal.auto_content_scale`. Of several references side by side the one that needs most
        decides.

        Args:
            style: A style with content.

        Raises:
            StyleError: The style was made with another encoder.
        """
        style.check_encoder(self.encoder)
        content = style.content_embeds
        assert content is not None
        if self._unrelated is None:
            # Not in the cache, where they would displace the caller's images.
            self._unrelated = torch.cat([self.encoder.embed([image]) for image in unrelated_images()])
            self._free_encoder()
        cosines = F.cosine_similarity(self._unrelated, content.sum(dim=0), dim=-1)
        embeds = style.with_removal(0.0).embeddings()
        unrelated = cosines.median().item()
        return max(auto_content_scale(embed, content, unrelated, style.removal) for embed in embeds)

    def _zeros(self) -> Float[Tensor, " dim"]:
        return torch.zeros(self.encoder.projection_dim)

    def _embed_black(self) -> Float[Tensor, " dim"]:
        side = self.encoder.image_size
        return self.encoder.embed([Image.new("RGB", (side, side))])[0]

    def _free_encoder(self) -> None:
        if not self.keep_encoder:
            self.encoder.free()


@cache
def unrelated_images() -> tuple[Image.Image, ...]:
    """Render held-out scenes of the synthetic dataset, the same on every machine."""
    scenes = sample_scenes(NUM_UNRELATED, torch.Generator().manual_seed(0), MINI_SCOPE, held_out=True)
    rendered = scenes.render(UNRELATED_SIDE, torch.Generator().manual_seed(0))
    return tuple(map(to_pil_image, rendered))


def resolve_content_scale(scale: ContentScale | None, style: Style, encoder: ReferenceEncoder | None) -> float | None:
    """Replace `"auto"` by the scale for this style; return anything else unchanged.

    Raises:
        StyleError: The scale is another word, or the style, its removal or the pipeline does not support `"auto"`.
    """
    if not isinstance(scale, str):
        return scale
    if scale != "auto":
        raise StyleError(f"content_scale is {scale!r}; it is a number, 0 for nothing, or 'auto'.")
    if style.removal not in AUTO_REMOVALS:
        raise StyleError(
            f"content_scale='auto' is defined for {' and '.join(AUTO_REMOVALS)}, not for {style.removal}; "
            "leave content_scale out."
        )
    if not style.content:
        raise StyleError(f"content_scale='auto' removes words from {style.name}, and there are none; pass content=.")
    style.check_removable()
    if encoder is None:
        raise StyleError(
            f"content_scale='auto' compares {style.name} with unrelated images, which needs an image encoder, and "
            "this pipeline has none; pass a number, or change the style where its encoder is."
        )
    return encoder.auto_content_scale(style)
