"""Means over references with intervals; every conclusion of the page follows from these intervals alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from findings.study import Means

RESAMPLES = 20_000
"""Resamples of the bootstrap: with 50 comparisons, 10 of them lie beyond each end of an interval."""

ERROR_RATE = 0.05
"""Probability that at least one interval of a family misses its true value."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Attributes:
        mean: The mean over references.
        low: Lower end of the interval.
        high: Upper end of the interval.
        has_enough_references: False if there are too few references for the interval's confidence level.
    """

    mean: float
    low: float
    high: float
    has_enough_references: bool = True

    @property
    def sign(self) -> int:
        """1 or −1 if significantly above or below zero, otherwise 0."""
        return ((self.low > 0) - (self.high < 0)) * self.has_enough_references

    def format(self, sign: str = "") -> str:
        """Format as `0.25 (0.10–0.42)`; with `sign="+"` as a difference, `+0.25 (+0.10 to +0.42)`."""
        between = " to " if sign else "–"
        return f"{self.mean:{sign}.2f} ({self.low:{sign}.2f}{between}{self.high:{sign}.2f})"


def estimate_mean(values: Sequence[float], comparisons: int = 1) -> Estimate:
    """Estimate a mean over references with a bootstrap interval.

    The bootstrap interval of n values of equal sign excludes zero, and n values have equal signs by chance
    with probability 2^(1−n). If this exceeds the interval's error rate, there are not enough references.

    Args:
        values: One value for each reference.
        comparisons: Number of intervals that hold together at 95 % (Bonferroni: each at
            1 − 0.05 / comparisons).

    Returns:
        The estimate.
    """
    numbers = torch.tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(len(numbers), (RESAMPLES, len(numbers)), generator=generator)
    tail = ERROR_RATE / 2 / comparisons
    ends = torch.tensor([tail, 1 - tail], dtype=torch.float64)
    low, high = numbers[picks].mean(1).quantile(ends).tolist()
    has_enough_references = 2.0 ** (1 - len(numbers)) <= 2 * tail
    return Estimate(numbers.mean().item(), low, high, has_enough_references)


def estimate_difference(means: Means, arm: str, baseline: str, score: str, comparisons: int = 1) -> Estimate:
    """Estimate how much higher an arm scores than a baseline.

    Differences are taken for each reference, as both arms are generated with the same seeds.

    Args:
        means: Means of all arms.
        arm: Name of the arm.
        baseline: Name of the arm to compare with.
        score: Name of the score.
        comparisons: Number of intervals that hold together.

    Returns:
        The difference, arm − baseline.
    """
    pairs = zip(means[arm][score], means[baseline][score], strict=True)
    return estimate_mean([value - other for value, other in pairs], comparisons)
