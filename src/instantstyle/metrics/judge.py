"""The small world's judge: a network, trained apart and never used to draw, that tells what a picture shows.

Its own accuracy on held-out scenes stands in the model card beside every figure it gave.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load
from torch import Tensor, nn

from instantstyle.world import FILLS, GROUNDS, LAYOUTS, OUTLINES, THINGS

FACTS = dict(thing=len(THINGS), layout=len(LAYOUTS), ground=len(GROUNDS), fill=len(FILLS), outline=len(OUTLINES))
SIZE = 64  # px the judge looks at


@dataclass(frozen=True)
class Readings:
    """What the judge sees: a logit per kind for each fact, and the palette in sRGB."""

    facts: dict[str, Float[Tensor, "picture kind"]]
    palette: Float[Tensor, "picture 5 3"]

    def __getitem__(self, fact: str) -> Tensor:
        """The likeliest kind of a fact, [picture]."""
        return self.facts[fact].argmax(-1)


class Judge(nn.Module):
    """Strided residual convolutions, then the mean and the maximum over the picture."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 192)):
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
    weights = load(files(__package__).joinpath("judge.safetensors").read_bytes())
    network = Judge()
    network.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return network.eval().requires_grad_(False)
