"""Progress of a batch and its remaining time, as lines of a log."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from .runner import Outcome


@dataclass
class Progress:
    """Counts outcomes and estimates the remaining time.

    The estimate is the mean time between outcomes of this run. The time before the first outcome is left out,
    because it includes loading the model.

    Args:
        total: Number of rows of the batch.
        generated: Rows whose image existed before this run.
        failed: Rows that failed before this run.
        clock: Monotonic clock in seconds.
    """

    total: int
    generated: int = 0
    failed: int = 0
    clock: Callable[[], float] = monotonic
    _times: list[float] = field(default_factory=list, init=False)

    @property
    def finished(self) -> int:
        """Number of rows that are generated or failed."""
        return self.generated + self.failed

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining seconds; None before the second outcome."""
        if len(self._times) < 2:
            return None
        each = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        return each * (self.total - self.finished)

    def count(self, outcome: Outcome) -> str:
        """Count an outcome.

        Args:
            outcome: What the runner yielded for a row.

        Returns:
            A line for the log, such as `12/300 a-rocket-7-0123456789.png, 14 min left`.
        """
        self._times.append(self.clock())
        self.generated += outcome.error is None
        self.failed += outcome.error is not None
        result = outcome.row.file if outcome.error is None else f"failed, {outcome.message}"
        left = self.seconds_left
        rest = f", {format_duration(left)} left" if left is not None and self.finished < self.total else ""
        return f"{self.finished}/{self.total} {result}{rest}"


def format_duration(seconds: float) -> str:
    """Format a duration as `40 s`, `14 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
