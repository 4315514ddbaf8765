"""Means by reference become intervals, and intervals alone determine what is significant."""

import pytest

from findings.evidence import Estimate, estimate_difference, estimate_mean


def test_a_mean_lies_in_its_interval():
    estimate = estimate_mean([0.0, 0.2, 0.4, 0.9])
    assert estimate.mean == pytest.approx(0.375)
    assert estimate.low < estimate.mean < estimate.high


def test_intervals_that_hold_together_are_wider():
    values = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9]
    alone, together = estimate_mean(values), estimate_mean(values, comparisons=40)
    assert together.low < alone.low
    assert together.high > alone.high
    assert together.mean == alone.mean


def test_an_interval_is_deterministic():
    assert estimate_mean([0.1, 0.5, 0.3]) == estimate_mean([0.1, 0.5, 0.3])


def test_arms_are_compared_reference_by_reference():
    """Both arms vary far more between references than they differ from each other."""
    means = {"one": {"leak": [0.1, 0.5, 0.9] * 2}, "other": {"leak": [0.2, 0.6, 1.0] * 2}}
    difference = estimate_difference(means, "one", "other", "leak")
    assert (difference.low, difference.high) == pytest.approx((-0.1, -0.1))
    assert difference.sign == -1


@pytest.mark.parametrize(
    ("low", "high", "sign"), [(0.1, 0.3, 1), (-0.3, -0.1, -1), (-0.1, 0.3, 0), (0.0, 0.2, 0), (0.0, 0.0, 0)]
)
def test_an_interval_that_touches_zero_is_not_significant(low, high, sign):
    assert Estimate((low + high) / 2, low, high).sign == sign


@pytest.mark.parametrize(("references", "comparisons", "sign"), [(5, 1, 0), (6, 1, 1), (6, 10, 0), (10, 10, 1)])
def test_too_few_references_make_nothing_significant(references, comparisons, sign):
    """Six values share a sign by chance with probability 2/64: enough for one interval, not for ten."""
    assert estimate_mean([0.3] * references, comparisons).sign == sign


def test_estimates_are_formatted_with_their_intervals():
    estimate = Estimate(0.25, -0.1, 0.42)
    assert estimate.format() == "0.25 (-0.10–0.42)"
    assert estimate.format("+") == "+0.25 (-0.10 to +0.42)"
