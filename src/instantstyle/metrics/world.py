"""Scores in the small world, where thing, look and layout of every reference are known."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..world import Scenes
from .judge import Judge, facts_of, judge

LOOK_PARTS = ("ground", "fill", "outline", "palette")


@dataclass(frozen=True)
class Scores:
    """One number a picture, each in 0..1 (palette may fall below 0); `look` is the mean of its four parts."""

    asked: Float[Tensor, " picture"]
    """The thing asked for is what the judge sees."""
    leak: Float[Tensor, " picture"]
    """The reference's thing is what the judge sees instead."""
    layout: Float[Tensor, " picture"]
    """The reference's layout is there."""
    ground: Float[Tensor, " picture"]
    fill: Float[Tensor, " picture"]
    outline: Float[Tensor, " picture"]
    palette: Float[Tensor, " picture"]
    """1: the reference's colours; 0: as far from them as from another reference's."""

    @property
    def look(self) -> Float[Tensor, " picture"]:
        return torch.stack([getattr(self, part) for part in LOOK_PARTS]).mean(0)

    def means(self) -> dict[str, float]:
        """Over all pictures."""
        named = [field.name for field in fields(self)]
        return {name: getattr(self, name).mean().item() for name in [*named, "look"]}


def score(
    pictures: Float[Tensor, "picture 3 64 64"],
    asked: Int[Tensor, " picture"],
    references: Scenes,
    network: Judge | None = None,
) -> Scores:
    """Score each picture against the thing asked for and the scene its reference shows."""
    seen = (network or judge())(pictures)
    same = {fact: (seen[fact] == shown).float() for fact, shown in facts_of(references).items()}
    return Scores(
        asked=(seen["thing"] == asked).float(),
        leak=same["thing"],
        layout=same["layout"],
        ground=same["ground"],
        fill=same["fill"],
        outline=same["outline"],
        palette=palette_match(seen.palette, references.look.palette),
    )


def palette_match(
    drawn: Float[Tensor, "picture 5 3"], wanted: Float[Tensor, "picture 5 3"]
) -> Float[Tensor, " picture"]:
    """1 − (distance to the own reference's colours) / (mean distance to all references' colours).

    Ground and body only: the ink may be hidden, and the patterns' second colours by their first.
    """
    colours = torch.tensor([0, 2])
    apart = (drawn[:, None, colours] - wanted[None, :, colours]).pow(2).sum(-1).sqrt().mean(-1)
    return 1 - apart.diagonal() / apart.mean(1)


def interval(
    values: Float[Tensor, " picture"], groups: Int[Tensor, " picture"], draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, resampling whole groups (references), not single pictures."""
    means = torch.stack([values[groups == group].mean() for group in groups.unique()])
    picks = torch.randint(len(means), (draws, len(means)), generator=torch.Generator().manual_seed(seed))
    low, high = means[picks].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high
