"""The workers of a Ray cluster: lent one by one, and replaced where they are lost."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from time import monotonic, sleep
from typing import Any

from ...errors import JobError, MissingExtra
from . import NoWorkers

LONGEST_WAIT = 600.0
"""Seconds without any worker until a run gives up: a cluster that grows with its work takes minutes to."""

ANSWERS_WITHIN = 10.0
"""Seconds in which a cluster must answer at its address."""

FRUITLESS = 3
"""How often each worker is begun anew before any of them comes to draw: it is not the machines, then."""

_BETWEEN_LOOKS = 0.5  # seconds


class WorkerLost(Exception):
    """A worker, or what it held, is gone; what was asked of it may be asked of another."""


def joined(address: str | None) -> Any:
    """Ray's module, connected: with the cluster at the address, or with a new one on this machine."""
    try:
        import ray
    except ModuleNotFoundError:
        raise MissingExtra(
            "--backend ray needs Ray, which is not installed: pip install 'instantstyle[ray]'"
        ) from None
    if ray.is_initialized():
        return ray
    # A cluster made for one run has nothing to report to Ray's makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    alone: dict[str, Any] = {} if address else {"include_dashboard": False}
    _check_answers(address)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **alone)
    except (ConnectionError, RuntimeError, ValueError) as fault:
        told = " ".join(str(fault).split())
        raise JobError(f"There is no Ray cluster at {address or 'this machine'}: {told}") from None
    return ray


def _check_answers(address: str | None) -> None:
    """Ray itself would go on asking for minutes."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdigit() or "//" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN).close()
    except (OSError, OverflowError) as fault:
        raise JobError(
            f"Nothing answers at {address} ({fault}); start Ray there (ray start --head), "
            "or leave --address out."
        ) from None


def answer(ray: Any, ref: Any) -> Any:
    """What a worker answered, or what it raised, as it raised it; `Lost` where it could not answer."""
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as fault:
        cause = fault.cause
        if isinstance(cause, Exception) and not isinstance(cause, ray.exceptions.RayError):
            raise cause from None
        raise WorkerLost(_first_line(cause)) from None
    except ray.exceptions.RayError as fault:
        raise WorkerLost(_first_line(fault)) from None


class Pool:
    """As many workers as the cluster has room for when the run begins; those that are lost are begun anew."""

    def __init__(self, ray: Any, begin: Callable[[], Any], count: int) -> None:
        """`begin` asks the cluster for a worker, which may come at once, later or never."""
        self._ray, self._begin, self.count = ray, begin, count
        self._lock = Lock()
        self._free: dict[Any, Any] = {}  # by what it answers once it is there and idle
        self._fruitless = 0
        for _ in range(count):
            self._put(begin())

    @contextmanager
    def lent(self) -> Iterator[Any]:
        """A worker for this thread alone; `Deserted` where none comes."""
        worker = self._taken()
        try:
            yield worker
        finally:
            self._put(worker)

    def _put(self, worker: Any) -> None:
        ref = worker.__ray_ready__.remote()
        with self._lock:
            self._free[ref] = worker

    def _taken(self) -> Any:
        begun = monotonic()
        while True:
            with self._lock:
                refs = list(self._free)
            if len(refs) < self.count:
                begun = monotonic()  # others draw, and will give back
            if worker := self._first_of(refs):
                return worker
            if monotonic() - begun > LONGEST_WAIT:
                raise NoWorkers(
                    f"No worker of the Ray cluster came within {LONGEST_WAIT:.0f} s; see what keeps it "
                    "busy (ray status), and run the same command again."
                )

    def _first_of(self, refs: list[Any]) -> Any:
        """The first that answers; None where none does for the moment, or another thread was first."""
        if not refs:
            sleep(_BETWEEN_LOOKS)
            return None
        there, _ = self._ray.wait(refs, num_returns=1, timeout=_BETWEEN_LOOKS)
        with self._lock:
            worker = self._free.pop(there[0], None) if there else None
        if worker is None:
            return None
        try:
            answer(self._ray, there[0])
        except WorkerLost as loss:
            self._replace(worker, loss)
            return None
        self._fruitless = 0
        return worker

    def _replace(self, worker: Any, loss: WorkerLost) -> None:
        """Should it be alive after all, it must not keep its place."""
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker)
        self._fruitless += 1
        self._put(self._begin())
        if self._fruitless > FRUITLESS * self.count:
            raise NoWorkers(
                f"No worker of the Ray cluster can begin: {loss} Is instantstyle installed on each node?"
            )


def room(nodes: list[Mapping[str, Any]], resource: str, each: int) -> int:
    """How many workers fit, none of them across two nodes."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(int(resources.get(resource, 0)) // each for resources in alive)


def _first_line(fault: object) -> str:
    """Ray tells a page; what went wrong stands at its beginning."""
    return next((line.strip() for line in str(fault).splitlines() if line.strip()), type(fault).__name__)
