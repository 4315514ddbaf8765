from dataclasses import dataclass

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from instantstyle.synthetic.batch import BatchRandom, TensorRows

from ..helpers import dice


@dataclass(frozen=True)
class Inner(TensorRows):
    number: Tensor


@dataclass(frozen=True)
class Outer(TensorRows):
    pair: Tensor
    inner: Inner


def numbered(first: int, count: int) -> Outer:
    numbers = torch.arange(first, first + count)
    return Outer(torch.stack([numbers, -numbers], 1), Inner(numbers))


def whole(batch: Outer) -> bool:
    """Whether every column still tells the same of each row."""
    return batch.pair.equal(torch.stack([batch.inner.number, -batch.inner.number], 1))


@given(st.lists(st.booleans(), min_size=1))
def test_where_takes_each_row_whole_from_one_of_the_two(keep):
    ours, theirs = numbered(0, len(keep)), numbered(100, len(keep))
    chosen = ours.where(torch.tensor(keep), theirs)
    assert chosen.inner.number.tolist() == [i if kept else 100 + i for i, kept in enumerate(keep)]
    assert whole(chosen)


@given(st.integers(0, 5), st.integers(0, 5))
def test_joining_keeps_both_in_order(ours, theirs):
    both = numbered(0, ours).concatenate(numbered(50, theirs))
    assert len(both) == ours + theirs
    assert both.inner.number.tolist() == [*range(ours), *range(50, 50 + theirs)]
    assert whole(both)


@given(st.lists(st.integers(0, 9), min_size=1))
def test_rows_are_chosen_in_every_column(rows):
    chosen = numbered(0, 10)[torch.tensor(rows)]
    assert chosen.inner.number.tolist() == rows
    assert whole(chosen)


def test_a_batch_moves_as_one():
    moved = numbered(0, 3).to("meta")
    assert moved.pair.is_meta
    assert moved.inner.number.is_meta


@given(st.floats(-10, 10, width=32), st.floats(0, 10, width=32), st.integers(1, 20))
def test_uniform_draws_lie_between_the_ends(low, span, count):
    drawn = BatchRandom(count, dice(0)).uniform(low, low + span, 3)
    assert drawn.shape == (count, 3)
    assert ((drawn >= low - 1e-5) & (drawn <= low + span + 1e-5)).all()


@given(st.lists(st.integers(-5, 5), min_size=1), st.integers(1, 50))
def test_only_what_may_be_picked_is_picked(choices, count):
    assert set(BatchRandom(count, dice(0)).choice(tuple(choices)).tolist()) <= set(choices)


def test_a_chance_comes_true_so_often():
    assert abs(BatchRandom(4000, dice(0)).bernoulli(0.3).float().mean() - 0.3) < 0.03
