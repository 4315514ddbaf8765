"""A Ray cluster, a worker for each GPU or for some CPUs; this machine hands out, and keeps what comes back.

Each style is seen by one worker, and what it saw travels. What a lost machine had in hand another draws.
"""

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Any

from ...errors import JobError
from ...recipe import Recipe
from ..rows import BatchRow
from . import Drawing
from .local import SIZE_ON_GPU
from .ray_pool import Pool, WorkerLost, answer, joined, room
from .ray_worker import EncodedRecipe, PackedRecipe, Worker, named_in

ATTEMPTS = 3
"""How often one batch may be lost: then it is not the machines, but the batch."""

REMEMBERED = 64
"""Looks that are kept: some kB each, of patch features some MB."""


class RayCluster:
    """Many machines as one backend; the pictures are those that one of them draws alone."""

    def __init__(self, device: str | None = None, *, address: str | None = None, cpus: int = 1) -> None:
        """`address`: host:port, or `auto` for the cluster that runs here; None makes one on this machine.

        `cpus`: of each worker, where there are no GPUs or `device` is `cpu`.
        """
        self._ray = joined(address)
        self._on_gpu = device != "cpu" and room(self._ray.nodes(), "GPU", 1) > 0
        resource, each = ("GPU", 1) if self._on_gpu else ("CPU", cpus)
        self.workers = room(self._ray.nodes(), resource, each)
        if not self.workers:
            raise JobError(
                f"No node of the Ray cluster has {each} {resource} for a worker; "
                "give --cpus no more than a node has."
            )
        needs = {"num_gpus": 1} if self._on_gpu else {"num_cpus": cpus}
        begin = partial(self._ray.remote(Worker).options(**needs).remote, device if self._on_gpu else "cpu")
        self._pool = Pool(self._ray, begin, self.workers)
        self._lock = Lock()
        self._dtypes: dict[object, Any] = {}
        self._looks: dict[object, Any] = {}
        self._eyes: dict[object, Any] = {}

    @property
    def size(self) -> int:
        """As on one machine."""
        return SIZE_ON_GPU if self._on_gpu else 1

    def draw(self, recipes: Sequence[Recipe]) -> list[Drawing]:
        """By whichever worker is free first; lost ones are made up for `ATTEMPTS` − 1 times."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._pool.lent() as worker:
                    return self._drawn(worker, recipes)
            except WorkerLost as loss:
                if attempt == ATTEMPTS:
                    raise JobError(f"The worker that drew it was lost, {ATTEMPTS} times: {loss}") from None
        raise AssertionError("it was drawn, or else given up")

    def _drawn(self, worker: Any, recipes: Sequence[Recipe]) -> list[Drawing]:
        look = self._look(BatchRow(recipes[0]), worker)
        return answer(self._ray, worker.draw.remote(look, recipes))

    def _look(self, row: BatchRow, worker: Any) -> EncodedRecipe:
        """By the worker at hand, unless another has seen one of the pictures."""
        marks = [(row.model, reference.sha256 or reference.name) for reference in named_in(row.recipe)]
        dtype = row.recipe.dtype or self._dtype(row, worker)

        def begin() -> Any:
            eye = next((self._eyes[mark] for mark in marks if mark in self._eyes), worker)
            self._eyes.update(dict.fromkeys(marks, eye))
            return eye.look.remote(PackedRecipe.packed(row.recipe), dtype)

        try:
            return self._once(self._looks, row.settings_key, begin)
        except WorkerLost:
            self._forget_eye(marks)
            raise

    def _forget_eye(self, marks: Sequence[object]) -> None:
        """It is lost, and all that it alone remembers."""
        with self._lock:
            lost = {self._eyes.get(mark) for mark in marks}
            self._eyes = {mark: eye for mark, eye in self._eyes.items() if eye not in lost}

    def _dtype(self, row: BatchRow, worker: Any) -> str:
        """Of a model where recipes leave it open: one for the whole cluster, whatever machines are in it."""
        return self._once(
            self._dtypes, row.model, lambda: worker.dtype.remote(PackedRecipe.packed(row.recipe))
        )

    def _once(self, known: dict[object, Any], what: object, begin: Callable[[], Any]) -> Any:
        """What one worker answers for all; asked again only where that failed."""
        with self._lock:
            if what not in known:
                known[what] = begin()
            ref = known[what]
            while len(known) > REMEMBERED:
                del known[next(iter(known))]
        try:
            return answer(self._ray, ref)
        except Exception:
            with self._lock:
                if known.get(what) is ref:
                    del known[what]
            raise
