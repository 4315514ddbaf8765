"""The pool of workers of a Ray cluster; a worker that is lost is replaced."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock, Thread
from time import monotonic, sleep
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict, TypeVar

from ...errors import JobError
from ...utils.text import cut, one_line
from . import NoWorkers, check_backend

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

WORKER_TIMEOUT = 600.0
"""Seconds without any worker until a run ends; clusters that scale with demand need minutes to add a node."""

START_TIMEOUT = 120.0
"""Seconds within which a cluster must be started or connected to."""

REPORT_INTERVAL = 10.0
"""Seconds between two lines of progress while the run waits for a cluster or a worker."""

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


OnMessage = Callable[[str], None]


def connect(address: str | None, timeout: float | None = None, on_message: OnMessage = lambda _: None) -> ModuleType:
    """Connect to a Ray cluster.

    Args:
        address: `host:port`, or `auto` for the cluster that runs on this machine; None starts a cluster on
            this machine.
        timeout: Seconds within which the cluster must answer; None for `START_TIMEOUT`.
        on_message: Called with a line of progress every `REPORT_INTERVAL` seconds.

    Returns:
        The module `ray`. An existing connection of this process is kept.

    Raises:
        MissingExtra: Ray is not installed.
        JobError: There is no cluster at the address, it does not start, or it does not answer in time.
    """
    check_backend("ray")
    import ray

    if ray.is_initialized():
        return ray
    # A cluster that exists for one run sends no usage statistics.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _check_reachable(address)
    where = f"at {address}" if address else "of this machine"
    settings = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        settings["include_dashboard"] = False
    start = partial(ray.init, address=address or "local", **settings)
    _wait_for(start, f"the Ray cluster {where}", START_TIMEOUT if timeout is None else timeout, on_message)
    return ray


def _wait_for(start: Callable[[], object], what: str, timeout: float, on_message: OnMessage) -> None:
    """Call a function that may block for any time; raise `JobError` where it fails or the time is over."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            start()
        # Ray raises `Exception` itself, errors of its own and of the system; some of its code exits.
        except BaseException as error:
            errors.append(error)

    # A daemon: a call that never returns does not keep the process.
    thread = Thread(target=run, daemon=True)
    since = monotonic()
    thread.start()
    while thread.is_alive():
        thread.join(max(0.0, min(REPORT_INTERVAL, since + timeout - monotonic())))
        waited = monotonic() - since
        if thread.is_alive() and waited >= timeout:
            raise JobError(
                f"{what[0].upper()}{what[1:]} did not start within {timeout:.0f} s; see its logs in /tmp/ray, or wait "
                "longer with --ray-timeout."
            )
        if thread.is_alive():
            on_message(f"waiting for {what}, {waited:.0f} of {timeout:.0f} s")
    if errors:
        reason = cut(one_line(_first_line(errors[0])), 300)
        raise JobError(f"Cannot connect to {what}: {reason}") from None


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
        timeout: Seconds without any worker until a run ends; None for `WORKER_TIMEOUT`.
        on_message: Called with a line of progress every `REPORT_INTERVAL` seconds without a worker.
    """

    def __init__(
        self,
        ray: ModuleType,
        start: "Callable[[], ActorHandle]",
        count: int,
        timeout: float | None = None,
        on_message: OnMessage = lambda _: None,
    ) -> None:
        self._ray, self._start, self.count = ray, start, count
        self._timeout = WORKER_TIMEOUT if timeout is None else timeout
        self._on_message, self._reported = on_message, monotonic()
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
            NoWorkers: No worker became available in time, or none can start.
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
            waited = monotonic() - since
            if waited > self._timeout:
                raise NoWorkers(
                    f"No worker of the Ray cluster was available within {self._timeout:.0f} s; see what keeps it busy "
                    "(ray status), and run the same command again, or wait longer with --ray-timeout."
                )
            self._report(waited)

    def _report(self, waited: float) -> None:
        """Write a line of progress, one for all threads that wait."""
        with self._lock:
            is_due = waited >= REPORT_INTERVAL and monotonic() - self._reported >= REPORT_INTERVAL
            if is_due:
                self._reported = monotonic()
        if is_due:
            self._on_message(f"waiting for a worker of the Ray cluster, {waited:.0f} of {self._timeout:.0f} s")

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
