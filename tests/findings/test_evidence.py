"""Means by reference become intervals, and intervals alone say what is sure."""

import pytest

from findings.evidence import Estimate, difference, estimate


def test_a_mean_lies_in_its_interval():
    found = estimate([0.0, 0.2, 0.4, 0.9])
    assert found.mean == pytest.approx(0.375)
    assert found.low < found.mean < found.high


def test_intervals_that_are_to_hold_together_are_wider():
    values = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9]
    alone, together = estimate(values), estimate(values, comparisons=40)
    assert together.low < alone.low
    assert together.high > alone.high
    assert together.mean == alone.mean


def test_an_interval_is_the_same_every_time():
    assert estimate([0.1, 0.5, 0.3]) == estimate([0.1, 0.5, 0.3])


def test_arms_are_held_against_each_other_reference_by_reference():
    """Both arms differ far more from reference to reference than from each other."""
    means = {"one": {"leak": [0.1, 0.5, 0.9] * 2}, "other": {"leak": [0.2, 0.6, 1.0] * 2}}
    found = difference(means, "one", "other", "leak")
    assert (found.low, found.high) == pytest.approx((-0.1, -0.1))
    assert found.sign == -1


@pytest.mark.parametrize(
    ("low", "high", "sign"), [(0.1, 0.3, 1), (-0.3, -0.1, -1), (-0.1, 0.3, 0), (0.0, 0.2, 0), (0.0, 0.0, 0)]
)
def test_what_touches_zero_is_not_sure(low, high, sign):
    assert Estimate((low + high) / 2, low, high).sign == sign


@pytest.mark.parametrize(
    ("references", "comparisons", "sign"), [(5, 1, 0), (6, 1, 1), (6, 10, 0), (10, 10, 1)]
)
def test_too_few_references_make_nothing_sure(references, comparisons, sign):
    """Of six, all share a sign by chance in 2/64 of cases: enough for one interval, not for ten."""
    assert estimate([0.3] * references, comparisons).sign == sign


def test_figures_are_told_with_their_intervals():
    found = Estimate(0.25, -0.1, 0.42)
    assert found.told() == "0.25 (-0.10–0.42)"
    assert found.told("+") == "+0.25 (-0.10 to +0.42)"
