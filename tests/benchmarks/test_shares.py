"""A clock around a method: it counts, and leaves nothing behind."""

import pytest

from benchmarks.shares import clocked, measured


class Guest:
    def work(self, what: int) -> int:
        if what < 0:
            raise ValueError("no")
        return what + 1


def test_every_call_is_counted_and_answered():
    guest = Guest()
    with clocked(guest, "work") as clock:
        assert [guest.work(what) for what in (1, 2)] == [2, 3]
        with pytest.raises(ValueError, match="no"):
            guest.work(-1)
    assert clock.calls == 3
    assert clock.seconds > 0
    assert not vars(guest)


def test_shares_add_up_to_the_whole():
    guest = Guest()
    found = measured(lambda: guest.work(1), {"work": (guest, "work")}, pictures=4)
    assert sum(part["share"] for part in found["parts"].values()) == pytest.approx(1)
    assert found["parts"]["work"]["calls"] == 1
