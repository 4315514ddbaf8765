"""A timed method counts its calls, and the object is restored afterwards."""

import pytest

from benchmarks.shares import measure_shares, time_method


class Counter:
    def work(self, number: int) -> int:
        if number < 0:
            raise ValueError("no")
        return number + 1


def test_every_call_is_counted_and_returns():
    counter = Counter()
    with time_method(counter, "work") as clock:
        assert [counter.work(number) for number in (1, 2)] == [2, 3]
        with pytest.raises(ValueError, match="no"):
            counter.work(-1)
    assert clock.calls == 3
    assert clock.seconds > 0
    assert not vars(counter)


def test_shares_add_up_to_the_whole():
    counter = Counter()
    results = measure_shares(lambda: counter.work(1), {"work": (counter, "work")}, images=4)
    assert sum(part["share"] for part in results["parts"].values()) == pytest.approx(1)
    assert results["parts"]["work"]["calls"] == 1
