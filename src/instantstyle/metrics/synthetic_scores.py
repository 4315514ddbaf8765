"""Scores in the small world, where thing, look and layout of every reference are known."""

from dataclasses import dataclass, fields
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..synthetic import MINI_SCOPE, Scenes, sample_scenes
from ..synthetic.looks import BODY, GROUND
from .classifier import Readings, SyntheticClassifier, facts_of, judge

LOOK_PARTS = ("ground", "fill", "outline", "palette")
COLOURS = [GROUND, BODY]
"""Of a palette, ground and body only: ink may be hidden, and the patterns' second colours by their first."""


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
    pictures: Float[Tensor, "picture 3 height width"],
    asked: Int[Tensor, " picture"],
    references: Scenes,
    network: SyntheticClassifier | None = None,
) -> Scores:
    """Score each picture against the thing asked for and the scene its reference shows."""
    return scores_of((network or judge())(pictures), asked, references)


def scores_of(seen: Readings, asked: Int[Tensor, " picture"], references: Scenes) -> Scores:
    """As `score`, of pictures that the judge has looked at."""
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
    """1 − (distance to the own reference's colours) / (mean distance to all references' colours)."""
    gaps = apart(drawn, wanted)
    return 1 - gaps.diagonal() / gaps.mean(1)


def apart(ones: Float[Tensor, "one 5 3"], others: Float[Tensor, "other 5 3"]) -> Float[Tensor, "one other"]:
    """How far each palette is from each other one, in sRGB: the mean over `COLOURS`."""
    return (ones[:, None, COLOURS] - others[None, :, COLOURS]).pow(2).sum(-1).sqrt().mean(-1)


def to_others(seen: Readings) -> dict[str, list[float]]:
    """How alike a set is, each picture to its others; empty for a set of one. Meant for different prompts.

    `consistency`: the look's four parts as read off both; of the palette 1 − d/d̄, d̄ of two unrelated scenes.
    `repetition`: the share of others in which the same thing is seen, which a look has no right to.
    """
    count = len(seen.palette)
    if count < 2:
        return {}
    same = {fact: (seen[fact][:, None] == seen[fact][None]).float() for fact in (*LOOK_PARTS[:-1], "thing")}
    same["palette"] = 1 - apart(seen.palette, seen.palette) / _unrelated()
    pairs = {
        "consistency": torch.stack([same[part] for part in LOOK_PARTS]).mean(0),
        "repetition": same["thing"],
    }
    others = 1 - torch.eye(count)
    return {name: ((near * others).sum(1) / (count - 1)).tolist() for name, near in pairs.items()}


@cache
def _unrelated() -> float:
    """The mean distance of two scenes' palettes, over all pairs of many."""
    scenes = sample_scenes(256, torch.Generator().manual_seed(0), MINI_SCOPE, held_out=True)
    gaps = apart(scenes.look.palette, scenes.look.palette)
    return (gaps.sum() / (len(gaps) * (len(gaps) - 1))).item()


def interval(
    values: Float[Tensor, " picture"], groups: Int[Tensor, " picture"], draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, resampling whole groups (references), not single pictures."""
    means = torch.stack([values[groups == group].mean() for group in groups.unique()])
    picks = torch.randint(len(means), (draws, len(means)), generator=torch.Generator().manual_seed(seed))
    low, high = means[picks].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high
