"""The peak of the memory that tensors take."""

import torch

from benchmarks.peak_memory import PeakMemory, measure_peak

MEGABYTE = 250_000  # float32 elements


def test_the_peak_counts_what_is_alive_at_once():
    def add_twice() -> torch.Tensor:
        first = torch.zeros(MEGABYTE)
        second = first + 1
        del first
        return second * 2

    assert measure_peak(add_twice) == 2e6


def test_views_and_changes_in_place_take_no_memory():
    def change() -> torch.Tensor:
        return torch.zeros(MEGABYTE).add_(1).view(2, -1)[0]

    assert measure_peak(change) == 1e6


def test_what_was_there_before_is_not_counted():
    weights = torch.zeros(MEGABYTE)
    assert measure_peak(lambda: weights.mul_(2)) == 0


def test_freed_memory_is_given_back():
    with PeakMemory() as memory:
        for _ in range(3):
            kept = torch.zeros(MEGABYTE)
        assert memory.bytes == 1e6
        del kept
        assert memory.bytes == 0
