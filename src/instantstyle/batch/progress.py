"""How far a batch is, and how long it will take, as lines for a log."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from .runner import Outcome


@dataclass
class Progress:
    """Counts outcomes; the time left is told by those of this run, from its first one on.

    What went before the first was loading the model, which is not done for each.
    """

    total: int
    drawn: int = 0
    failed: int = 0
    clock: Callable[[], float] = monotonic
    _times: list[float] = field(default_factory=list, init=False)

    @property
    def settled(self) -> int:
        """Drawn or failed."""
        return self.drawn + self.failed

    @property
    def seconds_left(self) -> float | None:
        """None before the second outcome."""
        if len(self._times) < 2:
            return None
        each = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        return each * (self.total - self.settled)

    def count(self, outcome: Outcome) -> str:
        """One more; returns what a log says of it: '12/300 a-rocket-7-0123456789.png, 14 min left'."""
        self._times.append(self.clock())
        self.drawn += outcome.error is None
        self.failed += outcome.error is not None
        told = outcome.row.file if outcome.error is None else f"failed, {outcome.told}"
        left = self.seconds_left
        rest = f", {duration(left)} left" if left is not None and self.settled < self.total else ""
        return f"{self.settled}/{self.total} {told}{rest}"


def duration(seconds: float) -> str:
    """'40 s', '14 min', '3.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
