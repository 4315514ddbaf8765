"""The small world's judge: a network, trained apart and never used to draw, that tells what a picture shows.

Its own accuracy on held-out scenes stands in the model card beside every figure it gave.
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

KINDS = {"thing": THINGS, "layout": LAYOUTS, "ground": GROUNDS, "fill": FILLS, "outline": OUTLINES}
FACTS = {name: len(kinds) for name, kinds in KINDS.items()}
SIZE = 64  # px the judge looks at


def facts_of(scenes: Scenes) -> dict[str, Int[Tensor, " scene"]]:
    """What is to be read off the scenes' pictures: the kind of each fact, under the names of FACTS."""
    look = scenes.look
    kinds = scenes.thing, scenes.layout.kind, look.ground, look.fill, look.outline
    return dict(zip(FACTS, kinds, strict=True))


@dataclass(frozen=True)
class Readings:
    """What the judge sees: a logit per kind for each fact, the palette in sRGB, and what is thing."""

    facts: dict[str, Float[Tensor, "picture _"]]
    palette: Float[Tensor, "picture 5 3"]
    inside: Float[Tensor, "picture 16 16"] | None = None
    """A logit for each cell: above 0 where it lies inside the thing. Helps in training; no score reads it."""

    def __getitem__(self, fact: str) -> Int[Tensor, " picture"]:
        """The likeliest kind of a fact."""
        return self.facts[fact].argmax(-1)


class SyntheticClassifier(nn.Module):
    """Strided residual convolutions, then a small perceptron on every place and on their mean.

    Textures are faint: it sees the picture also with its local contrast evened out, and fine features go to
    the perceptron averaged apart inside and outside of the thing.
    """

    def __init__(
        self, widths: tuple[int, ...] = (32, 64, 128, 192), kinds: Mapping[str, int] = FACTS
    ) -> None:
        super().__init__()
        steps = zip((6, *widths), widths, strict=False)
        self.stem = nn.ModuleList(nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in steps)
        self.mixers = nn.ModuleList(_mixer(width) for width in widths)
        self.inside = nn.Conv2d(widths[1], 1, 1)
        self.hidden = nn.Linear(widths[-1] * 17 + 2 * (widths[0] + widths[1]), 256)
        self.facts = nn.ModuleDict({name: nn.Linear(256, count) for name, count in kinds.items()})
        self.palette = nn.Linear(256, 15)

    def forward(self, pictures: Float[Tensor, "picture 3 height width"]) -> Readings:
        """RGB in 0..1 → readings; what is larger than SIZE is averaged down to it."""
        pictures = F.adaptive_avg_pool2d(pictures, SIZE)
        levels = self.levels(torch.cat([pictures * 2 - 1, local_contrast(pictures)], 1))
        inside, last = self.inside(levels[1]), levels[-1]
        textures = [_apart(F.gelu(level), inside.sigmoid()) for level in levels[:2]]
        x = F.gelu(self.hidden(torch.cat([last.flatten(1), last.mean((2, 3)), *textures], 1)))
        palette = self.palette(x).unflatten(1, (5, 3)) + 0.5
        return Readings({name: head(x) for name, head in self.facts.items()}, palette, inside[:, 0])

    def levels(self, x: Float[Tensor, "picture 6 64 64"]) -> list[Tensor]:
        """Features at 32, 16, 8 and 4 cells a side."""
        found = []
        for down, mix in zip(self.stem, self.mixers, strict=True):
            x = down(x)
            x = x + mix(x)
            found.append(x)
        return found


def local_contrast(pictures: Float[Tensor, "picture 3 h w"]) -> Float[Tensor, "picture 3 h w"]:
    """Each pixel against the 9 × 9 around it, in their standard deviations: faint patterns become plain."""
    mean = _blurred(pictures)
    variance = (_blurred(pictures**2) - mean**2).clamp(min=0)
    return (pictures - mean) / (variance.sqrt() + 0.02)


def _blurred(pictures: Float[Tensor, "picture 3 h w"]) -> Float[Tensor, "picture 3 h w"]:
    return F.avg_pool2d(F.pad(pictures, (4, 4, 4, 4), mode="reflect"), 9, stride=1)


def _apart(
    features: Float[Tensor, "picture channel h w"], inside: Float[Tensor, "picture 1 16 16"]
) -> Float[Tensor, "picture channels"]:
    """The features' mean over the thing, and that over the ground, side by side."""
    weight = F.interpolate(inside, features.shape[-2:])
    parts = [
        (features * where).sum((2, 3)) / where.sum((2, 3)).clamp(min=1) for where in (weight, 1 - weight)
    ]
    return torch.cat(parts, 1)


def _mixer(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.GroupNorm(8, width), nn.GELU(), nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(8, width), nn.GELU(), nn.Conv2d(width, width, 3, padding=1),
    )  # fmt: skip


@cache
def judge() -> SyntheticClassifier:
    """The trained judge that ships with the package."""
    weights = load_file(Path(__file__).with_name("judge.safetensors"))
    # The world's lists only grow at their ends: a judge trained before tells the first kinds of each.
    network = SyntheticClassifier(kinds={name: len(weights[f"facts.{name}.bias"]) for name in FACTS})
    network.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return network.eval().requires_grad_(False)
