"""Work that waits for a worker: bounded, left by whoever goes away, and done to its end when closed."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from math import ceil
from threading import Condition
from time import monotonic
from typing import Any

from .errors import full, gone, stopping, too_slow

_REMEMBERED = 20
"""Pieces of work whose time is kept: enough to foretell, few enough to follow what is asked for now."""


Work = Callable[[Any, "Job"], None]
"""Handed the worker's painter, and the job to tell of it."""


class Job:
    """One piece of work, and what is told while it is done to the one who waits for it.

    Made in the event loop; worked on in a worker's thread.
    """

    def __init__(self, work: Work, seconds: float) -> None:
        """`seconds`: how long it may take from now."""
        self.work = work
        self.seconds = seconds
        self.settled = asyncio.Event()
        """Nothing more is done for it."""
        self.abandoned = False
        self._ends = monotonic() + seconds
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[Any] = asyncio.Queue()

    def tell(self, news: Any) -> None:
        """From the worker's thread; a fault is raised to whoever waits, None ends it."""
        # The loop is closed only where the process was told twice to stop, and nobody waits any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.put_nowait, news)

    def settle(self) -> None:
        """From any thread."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.settled.set)

    def check(self) -> None:
        """Between steps: raises where nobody waits any more, or the time is over."""
        if self.abandoned:
            raise gone()
        if monotonic() > self._ends:
            raise too_slow(self.seconds)

    async def news(self) -> AsyncIterator[Any]:
        """What is told until the end; a fault is raised. Over time is over, wherever the work is by then."""
        while True:
            try:
                told = await asyncio.wait_for(self._news.get(), max(0.0, self._ends - monotonic()))
            except TimeoutError:
                raise too_slow(self.seconds) from None
            if told is None:
                return
            if isinstance(told, BaseException):
                raise told
            yield told


class JobQueue:
    """First come, first served, by as many workers as there are."""

    def __init__(self, bound: int, workers: int) -> None:
        self.bound, self.workers = bound, workers
        self.busy = 0
        self.closed = False
        self._waiting: deque[Job] = deque()
        self._changed = Condition()
        self._paces: deque[float] = deque([1.0], maxlen=_REMEMBERED)

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, job: Job) -> None:
        """`Refusal` where the line is full, or closed."""
        with self._changed:
            if self.closed:
                raise stopping()
            if len(self._waiting) >= self.bound:
                raise full(self._wait())
            self._waiting.append(job)
            self._changed.notify()

    def leave(self, job: Job) -> None:
        """Its place is free at once; where it is being worked on, after the step."""
        job.abandoned = True
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.tell(gone())
                job.settle()

    def take(self) -> Job | None:
        """The next one, waited for; None once the line is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.closed)
            if not self._waiting:
                return None
            self.busy += 1
            return self._waiting.popleft()

    def done(self, job: Job, seconds: float) -> None:
        """A worker is free again."""
        with self._changed:
            self.busy -= 1
            self._paces.append(seconds)
        job.settle()

    def close(self) -> None:
        """Nobody enters any more; those inside are served."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _wait(self) -> int:
        """Seconds until one of the workers is free, going by the latest work."""
        pace = sum(self._paces) / len(self._paces)
        return max(1, ceil(pace / self.workers))
