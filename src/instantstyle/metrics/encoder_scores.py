"""Scores by encoders the user chooses: text alignment, content leakage and style.

The similarity to the reference by CLIP, DINO or SigLIP rises with content leakage, because these encoders see
what is shown. `style` is therefore always reported together with `drawing`, the encoder's similarity of edge
drawings, in which no style is left (SEFS's measure of leakage, the only one shown to agree with people), and
the `consistency` of a set together with its `repetition`, the same similarity of its own edge drawings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from .composition import find_edges
from .pixels import to_small_oklab


@runtime_checkable
class ImageEmbedder(Protocol):
    """An image encoder, for example `instantstyle.core.image_encoder.ImageEncoder`."""

    @property
    def name(self) -> str:
        """Name under which scores are reported."""
        ...

    def embed(self, images: Sequence[Image.Image], /) -> Float[Tensor, "images dim"]:
        """Embed images."""
        ...


@runtime_checkable
class TextEmbedder(Protocol):
    """The text encoder of an image encoder's space, for example `core.image_encoder.TextEncoder`."""

    def embed(self, phrases: Sequence[str], /) -> Float[Tensor, "phrases dim"]:
        """Embed phrases."""
        ...


@dataclass(frozen=True)
class TextScores:
    """Cosines in −1..1 of each image to its own prompt (`text`, CLIP-T) and to the reference's content."""

    model: str
    text: Float[Tensor, " image"]
    content: Float[Tensor, " image"] | None = None

    @property
    def leaked(self) -> Bool[Tensor, " image"] | None:
        """Whether an image is nearer to the reference's content than to its prompt (arXiv 2502.07466)."""
        # 1e-6: a tie, where prompt and content are the same words, is no leakage, whatever the rounding.
        return None if self.content is None else self.content > self.text + 1e-6

    def to_dict(self) -> dict[str, list[float]]:
        """Return the scores by name; `content` and `leak` only where the content is known."""
        scores = {"text": self.text.tolist()}
        if self.content is not None and self.leaked is not None:
            scores |= {"content": self.content.tolist(), "leak": self.leaked.float().tolist()}
        return scores


@dataclass(frozen=True)
class ReferenceScores:
    """Cosines in −1..1 to the reference: of the images themselves, and of edge drawings of both."""

    style_model: str
    drawing_model: str
    style: Float[Tensor, " image"]
    drawing: Float[Tensor, " image"]
    consistency: Float[Tensor, " image"] | None = None
    """Mean cosine to the other images of the set; None for a set of one."""
    repetition: Float[Tensor, " image"] | None = None
    """The same of edge drawings."""

    def to_dict(self) -> dict[str, list[float]]:
        """Return the scores by name; `consistency` and `repetition` only of a set of several."""
        scores = {"style": self.style.tolist(), "drawing": self.drawing.tolist()}
        if self.consistency is not None and self.repetition is not None:
            scores |= {"consistency": self.consistency.tolist(), "repetition": self.repetition.tolist()}
        return scores


def score_text(
    images: Sequence[Image.Image],
    prompts: Sequence[str],
    image_encoder: ImageEmbedder,
    text_encoder: TextEmbedder,
    content: str | None = None,
) -> TextScores:
    """Compute cos(image, prompt) of each image, and cos(image, content) where the content is known.

    Args:
        images: The images.
        prompts: The prompt of each image.
        image_encoder: The image encoder.
        text_encoder: The text encoder that shares its space.
        content: The content of the reference in words, if known.
    """
    image_embeds = F.normalize(image_encoder.embed(images).float(), dim=-1)
    prompt_embeds = F.normalize(text_encoder.embed(list(prompts)).float(), dim=-1)
    text = (image_embeds * prompt_embeds).sum(-1)
    if content is None:
        return TextScores(image_encoder.name, text)
    content_embed = F.normalize(text_encoder.embed([content]).float(), dim=-1)
    return TextScores(image_encoder.name, text, (image_embeds @ content_embed.T)[:, 0])


def score_against_reference(
    images: Sequence[Image.Image], reference: Image.Image, style: ImageEmbedder, drawing: ImageEmbedder
) -> ReferenceScores:
    """Compute the similarity of images to a reference, and of their edge drawings.

    Args:
        images: The images.
        reference: The reference image.
        style: The image encoder that measures style, for example CSD.
        drawing: The image encoder that compares edge drawings, for example DINO.
    """
    images_then_reference = style.embed([*images, reference])
    drawings_then_reference = drawing.embed([*map(draw_edges, images), draw_edges(reference)])
    several = len(images) > 1
    return ReferenceScores(
        style.name,
        drawing.name,
        cosine_to_last(images_then_reference),
        cosine_to_last(drawings_then_reference),
        mean_cosine_to_others(images_then_reference[:-1]) if several else None,
        mean_cosine_to_others(drawings_then_reference[:-1]) if several else None,
    )


def cosine_to_last(embeds: Float[Tensor, "images dim"]) -> Float[Tensor, " others"]:
    """Compute the cosine of all embeddings but the last to the last."""
    unit = F.normalize(embeds.float(), dim=-1)
    return unit[:-1] @ unit[-1]


def mean_cosine_to_others(embeds: Float[Tensor, "images dim"]) -> Float[Tensor, " images"]:
    """Compute the mean cosine of each embedding to the others."""
    unit = F.normalize(embeds.float(), dim=-1)
    cosines = unit @ unit.T
    return (cosines.sum(1) - cosines.diagonal()) / (len(cosines) - 1)


def draw_edges(image: Image.Image) -> Image.Image:
    """Render the edges of an image black on white, without its colours and fine texture.

    Args:
        image: Image of any mode and size.

    Returns:
        RGB, 224 × 224 px.
    """
    strength, _ = find_edges(to_small_oklab(image.convert("RGB"), 128))
    ink = (strength / strength.max().clamp(min=0.02)).clamp(0, 1) ** 0.5
    shades = ((1 - ink) * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(shades).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
