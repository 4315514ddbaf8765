"""The Ray backend: one worker for each GPU, or for a number of CPUs, of a cluster.

Each reference is encoded by one worker, and the result is sent to the others. This machine alone writes
images and ledger. A batch whose worker is lost is repeated on another one.
"""

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from ...errors import JobError
from ...recipe import Recipe
from ...utils.text import cut, one_line
from ..rows import BatchRow
from . import GeneratedImage
from .local import GPU_BATCH_SIZE
from .ray_pool import OnMessage, WorkerLost, WorkerPool, connect, count_workers, get_result
from .ray_worker import EncodedRecipe, PackedRecipe, Worker

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

    from ...recipe_types import Dtype

T = TypeVar("T")

ATTEMPTS = 3
"""Attempts for each batch; after that, the batch itself is the likely cause of the lost workers."""

CACHE_SIZE = 64
"""Number of encoded recipes that are kept: some kB each, or some MB with patch features."""


class RayBackend:
    """Generates on all machines of a Ray cluster; images equal those of a `LocalBackend` bit for bit.

    Args:
        device: A torch device on the workers; None for a GPU if the cluster has one.
        address: Address of the cluster, see `ray_pool.connect`.
        cpus: CPUs of each worker, where there are no GPUs or `device` is `cpu`.
        timeout: Seconds to wait for the cluster to start, and for a worker; None for 120 and 600.
        on_message: Called with a line of progress while the run waits.

    Raises:
        JobError: There is no cluster at the address, or no node has the resources for a worker.
        MissingExtra: Ray is not installed.
    """

    def __init__(
        self,
        device: str | None = None,
        *,
        address: str | None = None,
        cpus: int = 1,
        timeout: float | None = None,
        on_message: OnMessage = lambda _: None,
    ) -> None:
        self._ray = connect(address, timeout, on_message)
        try:
            nodes = self._ray.nodes()
        # A cluster that dies at once; Ray raises errors of its own and of the system.
        except Exception as error:
            raise JobError(f"The Ray cluster does not answer: {cut(one_line(error), 300)}") from None
        self._on_gpu = device != "cpu" and count_workers(nodes, "GPU", 1) > 0
        resource, each = ("GPU", 1) if self._on_gpu else ("CPU", cpus)
        self.workers = count_workers(nodes, resource, each)
        if not self.workers:
            raise JobError(
                f"No node of the Ray cluster has {each} {resource} for a worker; give --cpus no more than a node has."
            )
        resources = {"num_gpus": 1} if self._on_gpu else {"num_cpus": cpus}
        actor = self._ray.remote(Worker).options(**resources)
        start = partial(actor.remote, device if self._on_gpu else "cpu")
        self._pool = WorkerPool(self._ray, start, self.workers, timeout, on_message)
        self._lock = Lock()
        self._dtypes: dict[object, ObjectRef[Dtype]] = {}
        self._encoded: dict[object, ObjectRef[EncodedRecipe]] = {}
        # By model and file: the worker that encoded the file.
        self._encoder_workers: dict[object, ActorHandle] = {}

    @property
    def batch_size(self) -> int:
        """As in `LocalBackend`."""
        return GPU_BATCH_SIZE if self._on_gpu else 1

    def generate(self, recipes: Sequence[Recipe]) -> list[GeneratedImage]:
        row = BatchRow(recipes[0])
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._pool.worker() as worker:
                    encoded = self._encode(row, worker)
                    return get_result(self._ray, worker.generate.remote(encoded, recipes))
            except WorkerLost as error:
                if attempt == ATTEMPTS:
                    raise JobError(f"The worker that generated it was lost, {ATTEMPTS} times: {error}") from None
        raise AssertionError("the last attempt returns or raises")

    def _encode(self, row: BatchRow, worker: "ActorHandle") -> EncodedRecipe:
        """Encode the settings of a row, if possible on a worker that has encoded one of its files."""
        keys = [(row.model_key, file.sha256 or file.name) for file in row.recipe.files()]
        # Where recipes leave the dtype open, one worker chooses it for the whole cluster.
        dtype = row.recipe.dtype or self._get_shared(
            self._dtypes, row.model_key, lambda: worker.dtype.remote(PackedRecipe.from_recipe(row.recipe))
        )

        def start() -> "ObjectRef[EncodedRecipe]":
            encoder = next((self._encoder_workers[key] for key in keys if key in self._encoder_workers), worker)
            self._encoder_workers.update(dict.fromkeys(keys, encoder))
            return encoder.encode.remote(PackedRecipe.from_recipe(row.recipe), dtype)

        try:
            return self._get_shared(self._encoded, row.settings_key, start)
        except WorkerLost:
            with self._lock:
                lost = {self._encoder_workers.get(key) for key in keys}
                self._encoder_workers = {
                    key: encoder for key, encoder in self._encoder_workers.items() if encoder not in lost
                }
            raise

    def _get_shared(self, cache: "dict[object, ObjectRef[T]]", key: object, start: "Callable[[], ObjectRef[T]]") -> T:
        """Return the result of a call that is made once for all threads, and again only if it failed."""
        with self._lock:
            if key not in cache:
                cache[key] = start()
            ref = cache[key]
            while len(cache) > CACHE_SIZE:
                del cache[next(iter(cache))]
        try:
            return get_result(self._ray, ref)
        except Exception:
            with self._lock:
                if cache.get(key) is ref:
                    del cache[key]
            raise
