"""The small world's judge: a network, trained apart and never used to draw, that tells what a picture shows.

Its own accuracy on held-out scenes stands in the model card beside every figure it gave.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from ..world import FILLS, GROUNDS, LAYOUTS, OUTLINES, THINGS, Scenes

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
    """What the judge sees: a logit per kind for each fact, and the palette in sRGB."""

    facts: dict[str, Float[Tensor, "picture _"]]
    palette: Float[Tensor, "picture 5 3"]

    def __getitem__(self, fact: str) -> Int[Tensor, " picture"]:
        """The likeliest kind of a fact."""
        return self.facts[fact].argmax(-1)


class Judge(nn.Module):
    """Strided residual convolutions, then a small perceptron on every place and on their mean."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 192)) -> None:
        super().__init__()
        steps = zip((3, *widths), widths, strict=False)
        self.stem = nn.ModuleList(nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in steps)
        self.mixers = nn.ModuleList(_mixer(width) for width in widths)
        self.hidden = nn.Linear(widths[-1] * 16 + widths[-1], 256)
        self.facts = nn.ModuleDict({name: nn.Linear(256, kinds) for name, kinds in FACTS.items()})
        self.palette = nn.Linear(256, 15)

    def forward(self, pictures: Float[Tensor, "picture 3 64 64"]) -> Readings:
        """RGB in 0..1 → readings."""
        x = pictures * 2 - 1
        for down, mix in zip(self.stem, self.mixers, strict=True):
            x = down(x)
            x = x + mix(x)
        x = F.gelu(self.hidden(torch.cat([x.flatten(1), x.mean((2, 3))], 1)))
        palette = self.palette(x).unflatten(1, (5, 3)) + 0.5
        return Readings({name: head(x) for name, head in self.facts.items()}, palette)


def _mixer(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.GroupNorm(8, width), nn.GELU(), nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(8, width), nn.GELU(), nn.Conv2d(width, width, 3, padding=1),
    )  # fmt: skip


@cache
def judge() -> Judge:
    """The trained judge that ships with the package."""
    weights = load_file(Path(__file__).with_name("judge.safetensors"))
    network = Judge()
    network.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return network.eval().requires_grad_(False)
