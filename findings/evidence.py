"""From means by reference to estimates with intervals: the only judge of any sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from findings.study import Means

DRAWS = 20_000  # of the bootstrap: at 50 comparisons, 10 of them lie beyond each end
DOUBT = 0.05
"""How often intervals that are looked at together may miss by chance, all of them taken as one."""


@dataclass(frozen=True)
class Estimate:
    """A mean and the ends of its interval."""

    mean: float
    low: float
    high: float
    enough: bool = True
    """False where there are too few references for the interval's claim, wherever its ends are."""

    @property
    def sign(self) -> int:
        """1 or −1: surely above or below zero; 0: neither."""
        return ((self.low > 0) - (self.high < 0)) * self.enough

    def told(self, sign: str = "") -> str:
        """`0.25 (0.10–0.42)`; with `sign="+"` as a difference, `+0.25 (+0.10 to +0.42)`."""
        between = " to " if sign else "–"
        return f"{self.mean:{sign}.2f} ({self.low:{sign}.2f}{between}{self.high:{sign}.2f})"


def estimate(values: Sequence[float], comparisons: int = 1) -> Estimate:
    """The mean over references and its bootstrap interval, which holds at 95 %.

    With `comparisons`, so many such intervals hold together (Bonferroni: each at 1 − 0.05 / comparisons).
    A bootstrap of n numbers that share a sign is all on one side of zero, and by chance they do in 2^(1−n) of
    cases: where this is more than may be missed, there are not `enough`.
    """
    numbers = torch.tensor(values, dtype=torch.float64)
    dice = torch.Generator().manual_seed(0)
    picks = torch.randint(len(numbers), (DRAWS, len(numbers)), generator=dice)
    tail = DOUBT / 2 / comparisons
    ends = torch.tensor([tail, 1 - tail], dtype=torch.float64)
    low, high = numbers[picks].mean(1).quantile(ends).tolist()
    enough = 2.0 ** (1 - len(numbers)) <= 2 * tail
    return Estimate(numbers.mean().item(), low, high, enough)


def difference(means: Means, one: str, other: str, score: str, comparisons: int = 1) -> Estimate:
    """How much higher `one` scores than `other`, reference by reference: both were drawn from equal seeds."""
    pairs = zip(means[one][score], means[other][score], strict=True)
    return estimate([mine - theirs for mine, theirs in pairs], comparisons)
