"""What the image encoder makes of references: once for each picture, then remembered."""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import ModelError, StyleError
from ..imaging.thumbnail import make_thumbnail
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from .bank import unrelated_pictures
from .clip_encoders import ImageEncoder
from .content_removal import auto_content_scale
from .style import Style

ContentScale = float | str
"""How much content is taken out; the word `auto`: as much as is enough, see `Sight.enough`."""

REMEMBERED = 64
"""Pictures whose embeddings are kept: 5 kB each for a base adapter, at most 1.3 MB on patch features."""


class ReferenceEncoder:
    """An image encoder for one kind of adapter, with a memory of the pictures that it has seen.

    With `keep_encoder` off the encoder's weights are freed after each look; a picture that is remembered
    needs them no more.
    """

    def __init__(
        self, encoder: ImageEncoder, *, uses_patch_features: bool, keep_encoder: bool = True
    ) -> None:
        self.encoder, self.uses_patch_features, self.keep_encoder = encoder, uses_patch_features, keep_encoder
        self._seen: OrderedDict[tuple[str, str], Tensor] = OrderedDict()
        self._blank: Tensor | None = None
        self._unrelated: Tensor | None = None

    @classmethod
    def for_checkpoint(
        cls, file: IPAdapterCheckpoint | None, encoder: Any, keep_encoder: bool = True
    ) -> "ReferenceEncoder | None":
        """That of the encoder which the adapter was trained with; None where there is no adapter."""
        if file is None:
            return None
        if encoder is None:
            raise ModelError(
                "There is no image encoder to see a reference with; pass image_encoder=, a model or a folder."
            )
        opened = ImageEncoder.open(encoder)
        opened.check_fits(file.projection_type, file.embedding_dim)
        return cls(opened, uses_patch_features=file.projection_type != "base", keep_encoder=keep_encoder)

    def style(self, images: Sequence[Image.Image], crop: str, weights: Sequence[float], name: str) -> Style:
        """The pictures as a style; what saw them is noted in it."""
        # Before the look: after it the weights may be gone.
        fingerprint = self.encoder.fingerprint
        embeds, blank = self.encode(images, crop)
        return Style(
            embeds,
            blank,
            tuple(weights),
            name=name,
            encoder=self.encoder.name,
            encoder_fingerprint=fingerprint,
            crop=crop,
            thumbnail=make_thumbnail(images),
        )

    def check(self, style: Style) -> None:
        """A style of another encoder of the same width would be read as if it were of this one."""
        known, here = style.encoder_fingerprint, self.encoder.fingerprint
        if known not in ("", here):
            raise StyleError(
                f"{style!r} was seen by another image encoder ({style.encoder} {known}) than the one here "
                f"({self.encoder.name} {here}); make it with this one, or bind it with the one that saw it."
            )

    def encode(
        self, images: Sequence[Image.Image], crop: str = "center"
    ) -> tuple[Float[Tensor, "images *features dim"], Float[Tensor, "*features dim"]]:
        """Raw projected embeddings, or for adapters on patches the patches' features; and no picture's."""
        found = torch.stack([self._of(image, crop) for image in images])
        blank = self._of_no_picture()
        if not self.keep_encoder:
            self.encoder.free()
        return found, blank

    def auto_content_scale(self, style: Style) -> float:
        """The least amount after which no reference is closer to the style's words than unrelated pictures.

        What is unrelated is the median cosine of the bank's pictures (`bank`) with the words; the equation is
        `clipspace.enough`'s. Of several references side by side the one that needs most decides.
        """
        self.check(style)
        words = style.content_embeds
        assert words is not None
        cosines = F.cosine_similarity(self._of_unrelated_pictures(), words.sum(dim=0), dim=-1)
        seen = style.with_removal(0.0).embeddings()
        return max(auto_content_scale(embed, words, cosines.median().item(), style.removal) for embed in seen)

    def _of_unrelated_pictures(self) -> Float[Tensor, "pictures dim"]:
        """Seen once, and kept beside the memory, in which they would crowd out a person's own."""
        if self._unrelated is None:
            self._unrelated = torch.cat([self.encoder.embed([image]) for image in unrelated_pictures()])
            if not self.keep_encoder:
                self.encoder.free()
        return self._unrelated

    def _of_no_picture(self) -> Float[Tensor, "*features dim"]:
        """Zeros for a base adapter, not the mean: it was trained against zeros."""
        if self._blank is None:
            width = self.encoder.projection_dim
            self._blank = self.encoder.blank_features() if self.uses_patch_features else torch.zeros(width)
        return self._blank

    def _of(self, image: Image.Image, crop: str) -> Float[Tensor, "*features dim"]:
        """One by one, so that a picture's embedding depends on no other beside it."""
        key = (_fingerprint(image), crop)
        if key not in self._seen:
            look = self.encoder.features if self.uses_patch_features else self.encoder.embed
            self._seen[key] = look([image], crop)[0]
        self._seen.move_to_end(key)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return self._seen[key]


def resolve_content_scale(
    scale: ContentScale | None, style: Style, sight: ReferenceEncoder | None
) -> float | None:
    """The number that `auto` comes to for this style; anything else as it is."""
    if not isinstance(scale, str):
        return scale
    if scale != "auto":
        raise StyleError(f"content_scale is {scale!r}; it is a number, 0 not at all, or 'auto'.")
    if style.removal not in CHOOSING:
        raise StyleError(
            f"content_scale='auto' chooses how much {' or '.join(CHOOSING)} takes out; {style.removal} has "
            "nothing to choose: leave content_scale out."
        )
    if not style.content:
        raise StyleError(
            f"content_scale='auto' is to take words out of {style.name}, and there are none; give content=."
        )
    style.check_removable()
    if sight is None:
        raise StyleError(
            f"content_scale='auto' holds {style.name} against pictures that an image encoder has to see, and "
            "this pipeline has none; give a number, or tune the style where its encoder is."
        )
    return sight.auto_content_scale(style)


CHOOSING = ("subtract", "project")
"""Removals whose amount has a closed form."""


def _fingerprint(image: Image.Image) -> str:
    """Of the pixels, whatever file they came from."""
    told = f"{image.mode} {image.size}".encode()
    return sha256(told + image.tobytes()).hexdigest()
