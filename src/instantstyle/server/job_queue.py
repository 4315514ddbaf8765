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
    """The work of one request for a model worker, and the channel of its results.

    It is created in the event loop when the head of a request arrives (`JobQueue.admit`), so that reading the
    body counts against the time limit; its work runs in the thread of a worker.

    Attributes:
        time_limit: Seconds from creation to the last result.
        deadline: The end of this time, on the clock of `time.monotonic`.
        work: The work, once it is known; called in the worker's thread with the worker and with this job.
        done: Set once nothing more is done for the job: it was finished, or removed from the queue.
        cancelled: True once the results are not wanted any more.
    """

    def __init__(self, time_limit: float) -> None:
        self.time_limit = time_limit
        self.deadline = monotonic() + time_limit
        self.work: Work[T] | None = None
        self.done = asyncio.Event()
        self.cancelled = False
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
        if monotonic() > self.deadline:
            raise time_limit_exceeded(self.time_limit)

    async def results(self) -> AsyncIterator[T]:
        """Iterate over the results as they are sent.

        Raises:
            ApiError: The deadline has passed (503), even while a worker is still running.
            BaseException: The error of the work.
        """
        while True:
            try:
                remaining = max(0.0, self.deadline - monotonic())
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

    A job is admitted when its request arrives, and leaves when it is done. As many jobs are admitted as may wait,
    and one more for each worker; those whose request is still being read or checked count as well.

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
        self._admitted: set[AnyJob] = set()
        self._waiting: deque[AnyJob] = deque()
        self._changed = Condition()
        self._durations: deque[float] = deque([1.0], maxlen=_DURATIONS_KEPT)

    def __len__(self) -> int:
        """The number of jobs that wait."""
        return len(self._waiting)

    def admit(self, time_limit: float) -> AnyJob:
        """Create the job of a request that arrives, before its body is read.

        Args:
            time_limit: Seconds until its last result.

        Returns:
            A job without work. `cancel` it unless it is `put`.

        Raises:
            ApiError: The queue is closed (503) or full (429, with the estimated wait).
        """
        with self._changed:
            if self.closed:
                raise service_stopping()
            if len(self._admitted) >= self.limit + self.workers:
                average = sum(self._durations) / len(self._durations)
                raise queue_full(max(1, ceil(average / self.workers)))
            job: AnyJob = Job(time_limit)
            self._admitted.add(job)
            return job

    def put(self, job: Job[T], work: Work[T]) -> None:
        """Add an admitted job at the end.

        Args:
            job: The job.
            work: Its work.

        Raises:
            ApiError: The queue is closed (503), or the job is cancelled (499) or past its deadline (503).
        """
        job.check()
        with self._changed:
            if self.closed:
                raise service_stopping()
            job.work = work
            self._waiting.append(job)
            self._changed.notify()

    def cancel(self, job: AnyJob) -> None:
        """Remove a job that waits or has no work yet at once; let a running one end at its next step."""
        job.cancelled = True
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.send(client_disconnected())
                self._leave(job)
            elif job.work is None:
                self._leave(job)

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
            self._leave(job)

    def close(self) -> None:
        """Accept no more jobs; the waiting ones are still run."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Answer all jobs with 503 at once; running ones end at their next step."""
        with self._changed:
            jobs = list(self._admitted)
        for job in jobs:
            job.send(service_stopping())
            self.cancel(job)

    def _leave(self, job: AnyJob) -> None:
        self._admitted.discard(job)
        job.set_done()


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
            assert job.work is not None
            job.work(worker, job)
            job.send(None)
        # Every error belongs to the request; the worker goes on with the next job.
        except BaseException as error:
            job.send(error)
        finally:
            queue.finish(job, monotonic() - started)
