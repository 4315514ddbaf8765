"""Generate the waiting rows of a ledger, batch by batch; each image is written before its row is marked."""

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ..errors import InstantStyleError, JobError
from ..utils.text import one_line
from .backends import Backend, BatchTooLarge, GeneratedImage, NoWorkers
from .ledger import Ledger
from .rows import Batch, BatchRow, split_batch

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of which no row is the cause: a full disk, an exceeded quota, a read-only file system."""

OnMessage = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """Result of a row: its image was written, or `error` says why not."""

    row: BatchRow
    error: str | None = None

    @property
    def message(self) -> str:
        """Location and error of a failed row, for a log."""
        return f"{self.row.location or self.row.file}: {self.error}"


def generate_rows(
    ledger: Ledger, rows: Sequence[BatchRow], backend: Backend, on_message: OnMessage = lambda _: None
) -> Iterator[Outcome]:
    """Generate those of the rows that are waiting in the ledger.

    A batch that does not fit into memory is halved, together with all batches that still wait. A batch that
    fails otherwise is repeated row by row, so that only rows that fail alone are marked as failed.

    Args:
        ledger: An open ledger that contains the rows.
        rows: Rows to generate.
        backend: Generates the batches.
        on_message: Called with a line for the log when the batch size is reduced.

    Yields:
        An outcome for each row, in the order of completion.

    Raises:
        JobError: An image could not be written, for example on a full disk, or the backend has no workers
            left (`NoWorkers`). Rows that are not finished stay waiting.
    """
    run = _Run(ledger, rows, backend, on_message)
    with ThreadPoolExecutor(backend.workers) as pool:
        while run.queue or run.running:
            run.submit_batches(pool)
            done, _ = wait(run.running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from run.collect(future)
    # Images that were deleted or damaged meanwhile wait for the next run.
    ledger.compare_with_store()


class _Run:
    """Queued and running batches of one call of `generate_rows`."""

    def __init__(self, ledger: Ledger, rows: Sequence[BatchRow], backend: Backend, on_message: OnMessage) -> None:
        self.ledger, self.backend, self.on_message = ledger, backend, on_message
        self.waiting = ledger.waiting_keys(rows)
        waiting = {row.key: row for row in rows if row.key in self.waiting}
        self.queue: deque[Batch] = deque(ledger.waiting_batches(waiting))
        # The default dtype may depend on a measurement of this machine; a store keeps the first choice.
        self.dtypes = ledger.dtypes()
        self.running: dict[Future[list[GeneratedImage]], Batch] = {}

    def submit_batches(self, pool: ThreadPoolExecutor) -> None:
        """Submit queued batches until every worker of the backend has one."""
        while self.queue and len(self.running) < self.backend.workers:
            batch = self.queue.popleft()
            recipes = [
                row.recipe.replace(dtype=row.recipe.dtype or self.dtypes.get(row.recipe.model)) for row in batch
            ]
            self.running[pool.submit(self.backend.generate, recipes)] = batch

    def collect(self, future: "Future[list[GeneratedImage]]") -> Iterator[Outcome]:
        """Write the images of a finished batch, or queue it again in smaller parts if it failed."""
        batch = self.running.pop(future)
        try:
            images = future.result()
        except NoWorkers:
            raise
        # All other errors concern only rows of this batch; the other rows continue.
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _DISK_FULL:
                reason = one_line(error.strerror or error)
                raise JobError(f"No file can be written ({reason}); the rows wait for the next run.") from None
            if len(batch) == 1:
                yield self._fail(batch[0], error)
            elif isinstance(error, BatchTooLarge):
                # All queued batches are halved too: a size that did not fit once would not fit again.
                size = len(batch) // 2
                self.on_message(f"out of memory with {len(batch)} images at once; continuing with {size}")
                queued = [part for other in self.queue for part in split_batch(other, size)]
                self._requeue([*split_batch(batch, size), *queued])
            else:
                self._requeue([*split_batch(batch, 1), *self.queue])
            return
        for row, (image, recipe) in zip(batch, images, strict=True):
            # Rows of the batch whose image exists already were generated only to repeat the same call.
            if row.key not in self.waiting:
                continue
            self.ledger.save_image(row, image, recipe)
            self.waiting.discard(row.key)
            yield Outcome(row)

    def _fail(self, row: BatchRow, error: Exception) -> Outcome:
        text = str(error) if isinstance(error, InstantStyleError) else f"{type(error).__name__}: {error}"
        outcome = Outcome(row, error=one_line(text))
        self.ledger.mark_failed(row, one_line(text))
        self.waiting.discard(row.key)
        return outcome

    def _requeue(self, batches: Iterable[Batch]) -> None:
        """Replace the queue and save it in the ledger, so that a resumed run makes the same calls."""
        self.queue = deque(batch for batch in batches if any(row.key in self.waiting for row in batch))
        self.ledger.update_batches(self.queue)
