"""Draws what a ledger has waiting: batch by batch, each picture kept before it is counted."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ..errors import InstantStyleError
from ..imaging.png_metadata import write_png
from ..recipe import Recipe
from .backends import Backend, Drawing, NoWorkers, TooLarge
from .ledger import Ledger
from .rows import Batch, BatchRow, cut

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a row: its picture is there, or `error` says why not."""

    row: BatchRow
    error: str | None = None

    @property
    def told(self) -> str:
        return f"{self.row.place or self.row.file}: {self.error}"


def draw_rows(
    ledger: Ledger, rows: Sequence[BatchRow], backend: Backend, tell: Tell = lambda _: None
) -> Iterator[Outcome]:
    """An outcome for each of the rows that the ledger has waiting, as they come.

    A row that cannot be drawn is kept with its error, and the others go on; what cannot be written, as on a
    full disk, or nobody being left to draw, ends the run, and nothing is lost by that. `tell` hears where
    memory did not suffice.
    """
    work = _Work(ledger, rows, backend, tell)
    with ThreadPoolExecutor(backend.workers) as pool:
        while work.waiting or work.running:
            work.hand_out(pool)
            done, _ = wait(work.running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from work.settle(future)


class _Work:
    """Batches that wait and batches that are being drawn."""

    def __init__(self, ledger: Ledger, rows: Sequence[BatchRow], backend: Backend, tell: Tell) -> None:
        self.ledger, self.backend, self.tell = ledger, backend, tell
        self.lacking = ledger.waiting(rows)
        # As they are asked for now: files may lie elsewhere than when the ledger first heard of them.
        asked = {row.key: row for row in rows}
        batches = ledger.batches(self.lacking)
        self.waiting: deque[Batch] = deque([asked.get(row.key, row) for row in batch] for batch in batches)
        # Where the model chooses, by the speed of the machine perhaps, it chooses once.
        self.dtypes = ledger.dtypes()
        self.running: dict[Future[list[Drawing]], Batch] = {}

    def hand_out(self, pool: ThreadPoolExecutor) -> None:
        """As many batches as can be drawn at once."""
        while self.waiting and len(self.running) < self.backend.workers:
            batch = self.waiting.popleft()
            recipes = [self._as_begun(row.recipe) for row in batch]
            self.running[pool.submit(self.backend.draw, recipes)] = batch

    def _as_begun(self, recipe: Recipe) -> Recipe:
        """In the numbers that the store's other pictures of this model were drawn with."""
        known = self.dtypes.get(recipe.model)
        return recipe.but(dtype=known) if known and recipe.dtype is None else recipe

    def settle(self, future: "Future[list[Drawing]]") -> Iterator[Outcome]:
        """Keep what was drawn; where it failed, try less at once, until one alone is to blame."""
        batch = self.running.pop(future)
        try:
            drawn = future.result()
        except NoWorkers:
            raise
        # Whatever it is, a row that cannot be drawn must not stop the others.
        except Exception as fault:
            if len(batch) == 1:
                yield self._failed(batch[0], fault)
            elif isinstance(fault, TooLarge):
                self._go_on_smaller(batch)
            else:
                self._wait_instead(cut(batch, 1), self.waiting)
        else:
            for row, drawing in zip(batch, drawn, strict=True):
                yield from self._kept(row, drawing)

    def _kept(self, row: BatchRow, drawing: Drawing) -> Iterator[Outcome]:
        """A row of the batch that lay there already is drawn only for the sake of the others."""
        if row.key not in self.lacking:
            return
        image, recipe = drawing
        with self.ledger.store.writing(row.file) as file:
            write_png(image, file, recipe)
        self.ledger.mark_drawn(row, recipe.dtype)
        self.lacking.discard(row.key)
        yield Outcome(row)

    def _failed(self, row: BatchRow, fault: Exception) -> Outcome:
        error = str(fault) if isinstance(fault, InstantStyleError) else f"{type(fault).__name__}: {fault}"
        error = " ".join(error.split())
        self.ledger.mark_failed(row, error)
        self.lacking.discard(row.key)
        return Outcome(row, error=error)

    def _go_on_smaller(self, batch: Batch) -> None:
        """Half as many at once from here on: what did not fit once would not fit again."""
        size = len(batch) // 2
        self.tell(f"out of memory with {len(batch)} pictures at once; on with {size}")
        self._wait_instead(cut(batch, size), (piece for other in self.waiting for piece in cut(other, size)))

    def _wait_instead(self, pieces: Iterable[Batch], rest: Iterable[Batch]) -> None:
        """Written down, so that a run that is taken up again draws the same pictures side by side."""
        self.waiting = deque(self._lacking_in([*pieces, *rest]))
        self.ledger.replan(self.waiting)

    def _lacking_in(self, batches: Iterable[Batch]) -> list[Batch]:
        return [batch for batch in batches if any(row.key in self.lacking for row in batch)]
