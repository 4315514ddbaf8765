from dataclasses import dataclass

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from instantstyle.synthetic.batch import BatchRandom, TensorRows

from ..helpers import seeded_generator


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


def has_matching_columns(batch: Outer) -> bool:
    """Return whether all columns of each row belong together."""
    return batch.pair.equal(torch.stack([batch.inner.number, -batch.inner.number], 1))


@given(st.lists(st.booleans(), min_size=1))
def test_where_takes_each_complete_row_from_one_of_both_batches(keep):
    one, other = numbered(0, len(keep)), numbered(100, len(keep))
    chosen = one.where(torch.tensor(keep), other)
    assert chosen.inner.number.tolist() == [i if kept else 100 + i for i, kept in enumerate(keep)]
    assert has_matching_columns(chosen)


@given(st.integers(0, 5), st.integers(0, 5))
def test_concatenating_keeps_both_batches_in_order(first, second):
    both = numbered(0, first).concatenate(numbered(50, second))
    assert len(both) == first + second
    assert both.inner.number.tolist() == [*range(first), *range(50, 50 + second)]
    assert has_matching_columns(both)


@given(st.lists(st.integers(0, 9), min_size=1))
def test_indexing_selects_rows_in_every_column(rows):
    chosen = numbered(0, 10)[torch.tensor(rows)]
    assert chosen.inner.number.tolist() == rows
    assert has_matching_columns(chosen)


def test_every_column_is_moved_to_the_device():
    moved = numbered(0, 3).to("meta")
    assert moved.pair.is_meta
    assert moved.inner.number.is_meta


@given(st.floats(-10, 10, width=32), st.floats(0, 10, width=32), st.integers(1, 20))
def test_uniform_samples_lie_in_their_range(low, span, count):
    samples = BatchRandom(count, seeded_generator(0)).uniform(low, low + span, 3)
    assert samples.shape == (count, 3)
    assert ((samples >= low - 1e-5) & (samples <= low + span + 1e-5)).all()


@given(st.lists(st.integers(-5, 5), min_size=1), st.integers(1, 50))
def test_only_the_given_choices_are_sampled(choices, count):
    assert set(BatchRandom(count, seeded_generator(0)).choice(tuple(choices)).tolist()) <= set(choices)


def test_bernoulli_samples_have_their_probability():
    assert abs(BatchRandom(4000, seeded_generator(0)).bernoulli(0.3).float().mean() - 0.3) < 0.03
