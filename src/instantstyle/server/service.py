"""`Service`: what all requests share - workers, queue, stored styles, limits and metrics."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic, time
from typing import TypeVar

from fastapi import Request

from ..generation.model_parts import ModelParts
from ..generation.worker import ModelWorker
from ..models.redux_files import check_redux, open_redux
from ..models.schedulers import validate_scheduler
from ..utils.text import shorten
from .errors import ApiError
from .job_queue import Job, JobQueue, run_jobs
from .metrics import ServerMetrics
from .middleware import JOB_KEY
from .model_defaults import ModelDefaults
from .request_body import BodyDeadlines
from .request_files import CheckedSources, RequestFiles
from .settings import Settings
from .style_store import StyleStore

T = TypeVar("T")

_logger = logging.getLogger(__name__)

RequestWork = Callable[[ModelWorker, Job[T], CheckedSources], None]
"""Called in the worker's thread with the worker, the job to send results to, and the files of the request."""

_FINISHING = 0.8
"""Share of the grace in which accepted requests are finished; in the rest they are answered with 503."""

_POLL_SECONDS = 0.2
"""Seconds between two checks of whether a client is still connected."""


class Service:
    """The state of a service.

    Attributes:
        settings: Its settings.
        workers: A model worker for each device.
        defaults: What acts for the fields that a request leaves out.
        queue: The jobs that wait for a worker.
        store: The stored styles.
        metrics: Counters and gauges.
        bodies: The bodies of requests that are being read.
        created: Unix time in seconds at which the service was created.
    """

    def __init__(self, workers: Sequence[ModelWorker], settings: Settings) -> None:
        """Create a service; it runs jobs once started.

        Args:
            workers: The workers, at least one.
            settings: The settings.

        Raises:
            ModelError: The model cannot use the scheduler of the settings.
        """
        limits = settings.limits
        self.settings, self.workers = settings, workers
        self.defaults = ModelDefaults.of(workers[0].styled, settings.scheduler)
        for line in limits.describe_refused(self.defaults):
            _logger.warning(line)
        self.queue = JobQueue(limits.queue, len(workers))
        self.store = StyleStore(settings.folder, limit=limits.styles, library=settings.library)
        self.metrics = ServerMetrics(self.queue)
        self.bodies = BodyDeadlines()
        self.created = int(time())
        self._stop_deadline: float | None = None
        self._running: list[Future[None]] = []
        self._watchers: set[asyncio.Task[None]] = set()

    @classmethod
    def load(cls, settings: Settings) -> "Service":
        """Load and warm up a model on each device, one after the other to limit the peak of memory.

        Raises:
            InstantStyleError: A file is missing or does not fit, a ControlNet cannot be loaded, the scheduler of the
                settings is not known, or FLUX.1 Redux is not for this model.
            MissingExtra: A package is not installed that the settings need; no model is loaded.
        """
        if settings.scheduler is not None:
            validate_scheduler(settings.scheduler)
        with_redux = settings.redux_model is not None
        if settings.redux_model is not None:
            check_redux(settings.model, settings.redux_model, settings.redux_image_encoder)
        parts = ModelParts.of(settings)
        beside = {"loras": settings.loras, "controls": settings.controls, "with_redux": with_redux}
        workers: list[ModelWorker] = []
        for device in settings.devices:
            workers.append(ModelWorker.load(parts, device=device, **beside))
            if settings.redux_model is not None:
                open_redux(settings.redux_model, settings.redux_image_encoder, workers[-1].device)
        return cls(workers, settings)

    @property
    def ready(self) -> bool:
        """Whether new requests are accepted and all workers run."""
        running = bool(self._running) and not any(future.done() for future in self._running)
        return running and not self.queue.closed

    def check_model(self, name: str) -> None:
        """Check that a request asks for the model of this service.

        Raises:
            ApiError: The name is another one (404).
        """
        served = self.settings.model_name
        if name != served:
            raise ApiError(
                f"There is no model {shorten(name)} here; there is {served}.",
                status=404,
                code="model_not_found",
                param="model",
            )

    def start(self) -> None:
        """Let the workers run the jobs of the queue."""
        self._running = [worker.submit(run_jobs, self.queue, worker) for worker in self.workers]

    def begin_stop(self) -> None:
        """Accept no more jobs and no more bodies; after most of the grace, answer what is unfinished with 503.

        Call it in the event loop, before the server waits for its connections.
        """
        self.queue.close()
        self.bodies.stop()
        grace = self.settings.limits.grace_seconds
        self._stop_deadline = monotonic() + grace
        asyncio.get_running_loop().call_later(_FINISHING * grace, self.queue.abandon)

    def stop(self) -> None:
        """Accept no more jobs, and wait until the accepted ones are finished or the grace is over."""
        self.queue.close()
        deadline = self._stop_deadline or monotonic() + self.settings.limits.grace_seconds
        for worker in self.workers:
            worker.close(timeout=max(0.0, deadline - monotonic()))

    async def submit(self, request: Request, prepare: Callable[[RequestFiles], RequestWork[T]]) -> AsyncGenerator[T]:
        """Queue the work of a request.

        Args:
            request: The request, whose job the middleware has admitted. When its client disconnects, the job is
                cancelled.
            prepare: Called in a thread with the request's files, before the request is queued; stores files,
                decodes none, and returns the work. The files are deleted when the job is done.

        Returns:
            An iterator over the results that the work sends. It raises the error of the work; closing it
            cancels the job.

        Raises:
            InstantStyleError: `prepare` refused the request, or the queue is closed or the time is over.
        """
        job: Job[T] = request.scope[JOB_KEY]
        files = RequestFiles(self.settings.limits)
        try:
            work = await asyncio.to_thread(prepare, files)
            self.queue.put(job, lambda worker, job: work(worker, job, CheckedSources(files, job.check)))
        except BaseException as error:
            files.delete()
            raise files.public_error(error) from None
        task = asyncio.create_task(self._watch_client(job, request, files))
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)
        return self._results(job, files)

    async def _results(self, job: Job[T], files: RequestFiles) -> AsyncGenerator[T]:
        try:
            async for result in job.results():
                yield result
        except Exception as error:
            raise files.public_error(error) from None
        finally:
            self.queue.cancel(job)

    async def _watch_client(self, job: Job[T], request: Request, files: RequestFiles) -> None:
        """Runs as a separate task, as a client can disconnect before its answer is begun."""
        try:
            while not job.done.is_set():
                if await request.is_disconnected():
                    self.queue.cancel(job)
                with suppress(TimeoutError):
                    await asyncio.wait_for(job.done.wait(), _POLL_SECONDS)
        finally:
            files.delete()
