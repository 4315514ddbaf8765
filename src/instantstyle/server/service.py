"""What all requests share: workers, their line, stored styles, bounds and meters."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from threading import Thread
from time import time
from typing import Any

from fastapi import Request

from ..generation.worker import Painter, at_work
from .errors import ApiError
from .job_queue import Job, JobQueue, Work
from .metrics import ServerMetrics
from .request_files import RequestFiles
from .settings import Settings
from .style_store import StyleStore

_BLINK = 0.2
"""Seconds between two looks at whether a client is still there."""


class Service:
    """Begun with the first request, ended when all that it holds is finished."""

    def __init__(self, painters: Sequence[Painter], settings: Settings) -> None:
        bounds = settings.bounds
        self.settings, self.painters = settings, painters
        self.line = JobQueue(bounds.waiting, len(painters))
        self.store = StyleStore(settings.folder, bound=bounds.styles, library=settings.library)
        self.meters = ServerMetrics(self.line)
        self.began = int(time())
        # Pictures are decoded to be checked: by no more requests at once than there are workers.
        self._looking = asyncio.Semaphore(len(painters))
        self._threads: list[Thread] = []
        self._tended: set[asyncio.Task[None]] = set()

    @classmethod
    def loaded(cls, settings: Settings) -> "Service":
        """A model on each device; one after the other, as loading takes memory too."""
        parts = settings.model, settings.adapter, settings.image_encoder
        return cls([Painter.loaded(*parts, device) for device in settings.devices], settings)

    @property
    def ready(self) -> bool:
        """Whether what comes now will be worked on."""
        return bool(self._threads) and not self.line.closed and all(each.is_alive() for each in self._threads)

    def check_model(self, asked: str) -> None:
        """`Refusal` where another is asked for than the one that draws."""
        called = self.settings.called
        if asked != called:
            raise ApiError(
                f"There is no model {asked!r} here; there is {called}.", status=404, code="model_not_found"
            )

    def start(self) -> None:
        self._threads = at_work(self.line, self.painters)

    def stop(self) -> None:
        """Returns when all that has been taken in is done."""
        self.line.close()
        for thread in self._threads:
            thread.join()

    async def begin(self, request: Request, prepare: Callable[[RequestFiles], Work]) -> AsyncIterator[Any]:
        """In line; what the work tells comes from the iterator, its fault too.

        `prepare` is handed a desk for the request's pictures, and refuses there what it can. The line is left
        when the client goes away, and the desk cleared when all is over.
        """
        desk = RequestFiles(self.settings.bounds.upload)
        try:
            async with self._looking:
                work = await asyncio.to_thread(prepare, desk)
            job = Job(work, self.settings.bounds.seconds)
            self.line.enter(job)
        except BaseException as fault:
            desk.clear()
            raise desk.told_fault(fault) from None
        task = asyncio.create_task(self._tend(job, request, desk))
        self._tended.add(task)
        task.add_done_callback(self._tended.discard)
        return self._news(job, desk)

    async def _news(self, job: Job, desk: RequestFiles) -> AsyncIterator[Any]:
        """Whoever stops reading leaves the line."""
        try:
            async for told in job.news():
                yield told
        except Exception as fault:
            raise desk.told_fault(fault) from None
        finally:
            self.line.leave(job)

    async def _tend(self, job: Job, request: Request, desk: RequestFiles) -> None:
        """A task of its own: a client may be gone before anyone has begun to answer it."""
        try:
            while not job.settled.is_set():
                if await request.is_disconnected():
                    self.line.leave(job)
                with suppress(TimeoutError):
                    await asyncio.wait_for(job.settled.wait(), _BLINK)
        finally:
            desk.clear()
