"""The pool of workers of a Ray cluster; a worker that is lost is replaced."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from time import monotonic, sleep
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict, TypeVar

from ...errors import JobError, MissingExtra
from ...utils.text import one_line
from . import NoWorkers

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

WORKER_TIMEOUT = 600.0
"""Seconds without any worker until a run ends; clusters that scale with demand need minutes to add a node."""

CONNECT_TIMEOUT = 10.0
"""Seconds within which a cluster must accept a connection."""

MAX_FAILED_STARTS = 3
"""Failed starts for each place in the pool until a run ends, counted since a worker last started."""

_POLL_INTERVAL = 0.5  # seconds

T = TypeVar("T")


class ClusterNode(TypedDict):
    """The entries of a node in `ray.nodes()` that are used here."""

    Alive: bool
    Resources: Mapping[str, float]


class WorkerLost(Exception):
    """A worker, or an object that it held, is lost. The task can be repeated on another worker."""


def connect(address: str | None) -> ModuleType:
    """Connect to a Ray cluster.

    Args:
        address: `host:port`, or `auto` for the cluster that runs on this machine; None starts a cluster on
            this machine.

    Returns:
        The module `ray`. An existing connection of this process is kept.

    Raises:
        MissingExtra: Ray is not installed.
        JobError: There is no cluster at the address.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise MissingExtra(
            "--backend ray needs Ray, which is not installed: pip install 'instantstyle[ray]'"
        ) from None
    if ray.is_initialized():
        return ray
    # A cluster that exists for one run sends no usage statistics.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _check_reachable(address)
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=None if address else False,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = address or "this machine"
        raise JobError(f"Cannot connect to a Ray cluster at {where}: {one_line(error)}") from None
    return ray


def _check_reachable(address: str | None) -> None:
    """Raise `JobError` if nothing listens at `host:port`; Ray itself retries for minutes."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdigit() or "//" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise JobError(
            f"Nothing answers at {address} ({error}); start Ray there (ray start --head), or leave --address out."
        ) from None


def get_result(ray: ModuleType, ref: "ObjectRef[T]") -> T:
    """Wait for the result of a remote call.

    Args:
        ray: The module `ray`, connected.
        ref: Reference to the result.

    Returns:
        The result.

    Raises:
        WorkerLost: The worker could not finish the call.
        Exception: The exception that the call itself raised.
    """
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, Exception) and not isinstance(cause, ray.exceptions.RayError):
            raise cause from None
        raise WorkerLost(_first_line(cause)) from None
    except ray.exceptions.RayError as error:
        raise WorkerLost(_first_line(error)) from None


class WorkerPool:
    """A fixed number of workers, each used by one thread at a time. Lost workers are replaced.

    Args:
        ray: The module `ray`, connected.
        start: Requests a worker from the cluster and returns its handle immediately. The worker itself may
            start at once, later or never.
        count: Number of workers.
    """

    def __init__(self, ray: ModuleType, start: "Callable[[], ActorHandle]", count: int) -> None:
        self._ray, self._start, self.count = ray, start, count
        self._lock = Lock()
        # By the reference that is ready once the worker has started and is idle.
        self._free: dict[ObjectRef[object], ActorHandle] = {}
        self._failed_starts = 0
        for _ in range(count):
            self._release(start())

    @contextmanager
    def worker(self) -> "Iterator[ActorHandle]":
        """Reserve a worker for the calling thread.

        Yields:
            The worker; it returns to the pool at the end of the block.

        Raises:
            NoWorkers: No worker became available within `WORKER_TIMEOUT`, or none can start.
        """
        worker = self._acquire()
        try:
            yield worker
        finally:
            self._release(worker)

    def _release(self, worker: "ActorHandle") -> None:
        ref = worker.__ray_ready__.remote()
        with self._lock:
            self._free[ref] = worker

    def _acquire(self) -> "ActorHandle":
        since = monotonic()
        while True:
            with self._lock:
                refs = list(self._free)
            if len(refs) < self.count:
                since = monotonic()  # other threads use workers and will release them
            if worker := self._take_ready(refs):
                return worker
            if monotonic() - since > WORKER_TIMEOUT:
                raise NoWorkers(
                    f"No worker of the Ray cluster was available within {WORKER_TIMEOUT:.0f} s; see what "
                    "keeps it busy (ray status), and run the same command again."
                )

    def _take_ready(self, refs: "list[ObjectRef[object]]") -> "ActorHandle | None":
        """Take the first worker that is ready; None if none is within the poll interval or it was taken."""
        if not refs:
            sleep(_POLL_INTERVAL)
            return None
        ready, _ = self._ray.wait(refs, num_returns=1, timeout=_POLL_INTERVAL)
        with self._lock:
            worker = self._free.pop(ready[0], None) if ready else None
        if worker is None:
            return None
        try:
            get_result(self._ray, ready[0])
        except WorkerLost as error:
            self._replace(worker, error)
            return None
        self._failed_starts = 0
        return worker

    def _replace(self, worker: "ActorHandle", error: WorkerLost) -> None:
        # If the worker is alive after all, it must not keep its resources.
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker)
        self._failed_starts += 1
        self._release(self._start())
        if self._failed_starts > MAX_FAILED_STARTS * self.count:
            raise NoWorkers(f"No worker of the Ray cluster can start: {error} Is instantstyle installed on each node?")


def count_workers(nodes: Sequence[ClusterNode], resource: str, each: int) -> int:
    """Count how many workers fit into a cluster, each on one node.

    Args:
        nodes: `ray.nodes()`.
        resource: `CPU` or `GPU`.
        each: Units of the resource for each worker.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(int(resources.get(resource, 0)) // each for resources in alive)


def _first_line(error: object) -> str:
    """Return the first non-empty line of an error; Ray's texts are long and begin with the reason."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
