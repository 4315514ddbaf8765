"""A bounded queue of jobs with deadlines, between the event loop and the model workers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from math import ceil
from threading import Condition
from time import monotonic
from typing import Any, Generic, TypeVar

from ..generation.worker import ModelWorker
from .errors import client_disconnected, queue_full, service_stopping, time_limit_exceeded

T = TypeVar("T")

_DURATIONS_KEPT = 20
"""Jobs whose duration is averaged: enough for an estimate, few enough to follow a change of requests."""


class Job(Generic[T]):
    """Work for a model worker, and the channel of its results to the request that waits for them.

    Create it in the event loop; the work runs in the thread of a worker.

    Attributes:
        work: The work; called in the worker's thread with the worker and with this job.
        time_limit: Seconds from creation to the last result.
        done: Set once nothing more is done for the job: it was finished, or removed from the queue.
        cancelled: True once the results are not wanted any more.
    """

    def __init__(self, work: Callable[[ModelWorker, "Job[T]"], None], time_limit: float) -> None:
        self.work, self.time_limit = work, time_limit
        self.done = asyncio.Event()
        self.cancelled = False
        self._deadline = monotonic() + time_limit
        self._loop = asyncio.get_running_loop()
        self._results: asyncio.Queue[T | BaseException | None] = asyncio.Queue()

    def send(self, result: T | BaseException | None) -> None:
        """Send a result from any thread; an exception is raised in `results`, None ends them."""
        # The loop is closed if the process was stopped a second time; then there is no receiver.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._results.put_nowait, result)

    def set_done(self) -> None:
        """Set `done` from any thread."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.done.set)

    def check(self) -> None:
        """Stop the work between steps.

        Raises:
            ApiError: The job is cancelled (499) or past its deadline (503).
        """
        if self.cancelled:
            raise client_disconnected()
        if monotonic() > self._deadline:
            raise time_limit_exceeded(self.time_limit)

    async def results(self) -> AsyncIterator[T]:
        """Iterate over the results as they are sent.

        Yields:
            The results.

        Raises:
            ApiError: The deadline has passed (503), even while a worker is still running.
            BaseException: The error of the work.
        """
        while True:
            try:
                remaining = max(0.0, self._deadline - monotonic())
                result = await asyncio.wait_for(self._results.get(), remaining)
            except TimeoutError:
                raise time_limit_exceeded(self.time_limit) from None
            if result is None:
                return
            if isinstance(result, BaseException):
                raise result
            yield result


Work = Callable[[ModelWorker, Job[T]], None]
"""Called in the worker's thread with the worker, and with the job to send results to."""


AnyJob = Job[Any]
"""A job whose results have any type."""


class JobQueue:
    """A bounded first-in, first-out queue for several workers.

    Attributes:
        limit: Largest number of jobs that wait.
        workers: Number of workers.
        busy: Number of workers that run a job.
        closed: True once no more jobs are accepted.
    """

    def __init__(self, limit: int, workers: int) -> None:
        self.limit, self.workers = limit, workers
        self.busy = 0
        self.closed = False
        self._waiting: deque[AnyJob] = deque()
        self._changed = Condition()
        self._durations: deque[float] = deque([1.0], maxlen=_DURATIONS_KEPT)

    def __len__(self) -> int:
        """The number of jobs that wait."""
        return len(self._waiting)

    def put(self, job: AnyJob) -> None:
        """Add a job at the end.

        Raises:
            ApiError: The queue is closed (503) or full (429, with the estimated wait).
        """
        with self._changed:
            if self.closed:
                raise service_stopping()
            if len(self._waiting) >= self.limit:
                average = sum(self._durations) / len(self._durations)
                raise queue_full(max(1, ceil(average / self.workers)))
            self._waiting.append(job)
            self._changed.notify()

    def cancel(self, job: AnyJob) -> None:
        """Remove a waiting job at once; let a running one end at its next step."""
        job.cancelled = True
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.send(client_disconnected())
                job.set_done()

    def take(self) -> AnyJob | None:
        """Wait for the next job and remove it; return None once the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.closed)
            if not self._waiting:
                return None
            self.busy += 1
            return self._waiting.popleft()

    def finish(self, job: AnyJob, seconds: float) -> None:
        """Mark a job that was taken as done; `seconds` is how long it ran."""
        with self._changed:
            self.busy -= 1
            self._durations.append(seconds)
        job.set_done()

    def close(self) -> None:
        """Accept no more jobs; the waiting ones are still run."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()


def run_jobs(queue: JobQueue, worker: ModelWorker) -> None:
    """Run the queue's jobs until it is closed and empty.

    Args:
        queue: The queue; several workers can share it.
        worker: The worker to run the jobs with; call this function in its thread.
    """
    while (job := queue.take()) is not None:
        started = monotonic()
        try:
            job.check()
            job.work(worker, job)
            job.send(None)
        # Every error belongs to the request; the worker goes on with the next job.
        except BaseException as error:
            job.send(error)
        finally:
            queue.finish(job, monotonic() - started)
