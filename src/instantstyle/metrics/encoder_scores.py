"""Scores by open encoders of the user's choice: text alignment, leakage, style; each names its encoder.

Similarity to the reference by CLIP, DINO or SigLIP rises with leakage, for these encoders see what is shown.
So `style` is never given without `drawing` beside it: the encoder's similarity of edge drawings, in which
no style is left (SEFS's measure of leakage, the only one shown to agree with people); nor the `consistency`
of a set without its `repetition`, the same of its own drawings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from .composition import edges
from .pixels import lab


@runtime_checkable
class Sees(Protocol):
    """An image tower; `instantstyle.core.clip_encoders.ImageEncoder` is one."""

    @property
    def name(self) -> str: ...

    def embed(self, images: Sequence[Image.Image], /) -> Float[Tensor, "images dim"]: ...


@runtime_checkable
class Reads(Protocol):
    """The text tower that shares an image tower's space; `instantstyle.core.clip_encoders.TextEncoder` is one."""

    def embed(self, phrases: Sequence[str], /) -> Float[Tensor, "phrases dim"]: ...


@dataclass(frozen=True)
class WordScores:
    """Cosines, −1..1: `text` to each picture's own prompt (CLIP-T), `content` to the reference's words."""

    model: str
    text: Float[Tensor, " picture"]
    content: Float[Tensor, " picture"] | None = None

    @property
    def leaked(self) -> Bool[Tensor, " picture"] | None:
        """Nearer to the reference's content than to the prompt: the wrong side (MaskST, arXiv 2502.07466)."""
        # 1e-6: a tie, where prompt and content are the same words, is no leak, however sums were rounded.
        return None if self.content is None else self.content > self.text + 1e-6

    def named(self) -> dict[str, list[float]]:
        found = {"text": self.text.tolist()}
        if self.content is not None and self.leaked is not None:
            found |= {"content": self.content.tolist(), "leak": self.leaked.float().tolist()}
        return found


@dataclass(frozen=True)
class SightScores:
    """Cosines to the reference, −1..1: of the pictures themselves, and of edge drawings of both."""

    style_model: str
    drawing_model: str
    style: Float[Tensor, " picture"]
    drawing: Float[Tensor, " picture"]
    consistency: Float[Tensor, " picture"] | None = None
    """To the other pictures of the set, the mean; None for a set of one."""
    repetition: Float[Tensor, " picture"] | None = None

    def named(self) -> dict[str, list[float]]:
        found = {"style": self.style.tolist(), "drawing": self.drawing.tolist()}
        if self.consistency is not None and self.repetition is not None:
            found |= {"consistency": self.consistency.tolist(), "repetition": self.repetition.tolist()}
        return found


def words(
    pictures: Sequence[Image.Image],
    prompts: Sequence[str],
    sees: Sees,
    reads: Reads,
    content: str | None = None,
) -> WordScores:
    """cos(image, prompt) of each picture, and cos(image, content) where the reference's content is known."""
    seen = F.normalize(sees.embed(pictures).float(), dim=-1)
    asked = F.normalize(reads.embed(list(prompts)).float(), dim=-1)
    shown = None if content is None else F.normalize(reads.embed([content]).float(), dim=-1)
    own = None if shown is None else (seen @ shown.T)[:, 0]
    return WordScores(sees.name, (seen * asked).sum(-1), own)


def sight(pictures: Sequence[Image.Image], reference: Image.Image, style: Sees, drawing: Sees) -> SightScores:
    """`style`: what measures style (CSD, or an image tower); `drawing`: what compares drawings (DINO)."""
    drawn = [edge_drawing(picture) for picture in pictures]
    seen = style.embed([*pictures, reference])
    outlined = drawing.embed([*drawn, edge_drawing(reference)])
    several = len(pictures) > 1
    return SightScores(
        style.name,
        drawing.name,
        cosines(seen),
        cosines(outlined),
        to_others(seen[:-1]) if several else None,
        to_others(outlined[:-1]) if several else None,
    )


def cosines(embeds: Float[Tensor, "images dim"]) -> Float[Tensor, " others"]:
    """Of all but the last to the last."""
    long = F.normalize(embeds.float(), dim=-1)
    return long[:-1] @ long[-1]


def to_others(embeds: Float[Tensor, "images dim"]) -> Float[Tensor, " images"]:
    """Each one's mean cosine to the others."""
    long = F.normalize(embeds.float(), dim=-1)
    near = long @ long.T
    return (near.sum(1) - near.diagonal()) / (len(near) - 1)


def edge_drawing(picture: Image.Image) -> Image.Image:
    """The picture's edges, black on white, without its colours and fine texture."""
    strength, _ = edges(lab(picture.convert("RGB"), 128))
    ink = (strength / strength.max().clamp(min=0.02)).clamp(0, 1) ** 0.5
    shades = ((1 - ink) * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(shades).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
