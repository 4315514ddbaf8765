"""A Ray cluster that does not start, or whose workers never come, ends in one line after a deadline."""

import socket
from threading import Event
from types import SimpleNamespace

import pytest
import ray

from instantstyle.batch import create_backend
from instantstyle.batch.backends import NoWorkers, ray_pool
from instantstyle.batch.backends.ray_pool import WorkerPool
from instantstyle.errors import JobError


@pytest.fixture(autouse=True)
def _short_interval(monkeypatch):
    monkeypatch.setattr(ray_pool, "REPORT_INTERVAL", 0.1)
    monkeypatch.setattr(ray_pool, "_POLL_INTERVAL", 0.05)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.parametrize(
    "error",
    [
        Exception("The current node timed out during startup.\nmore"),
        OSError("AF_UNIX path length cannot exceed 107 bytes"),
        PermissionError(13, "Permission denied"),
        AssertionError("no"),
        SystemExit(1),
    ],
)
def test_a_cluster_that_does_not_start_is_one_line(monkeypatch, error):
    def init(**_):
        raise error

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(JobError, match=r"^Cannot connect to the Ray cluster of this machine: ") as caught:
        create_backend("ray")
    assert "\n" not in str(caught.value)


def test_a_cluster_that_never_answers_ends_at_the_deadline_with_progress(monkeypatch):
    monkeypatch.setattr(ray, "init", lambda **_: Event().wait(30))
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "{}:{}".format(*server.getsockname())
        with pytest.raises(JobError, match=f"^The Ray cluster at {address} did not start within 1 s; .*--ray"):
            create_backend("ray", address=address, timeout=0.6, on_message=lines.append)
    assert len(lines) >= 3
    assert lines[0].startswith(f"waiting for the Ray cluster at {address}, 0 of 1 s")


def test_a_cluster_that_dies_at_once_is_one_line(monkeypatch):
    def nodes():
        raise ConnectionError("lost\nmore")

    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "nodes", nodes)
    with pytest.raises(JobError, match=r"^The Ray cluster does not answer: lost more$"):
        create_backend("ray")


def test_workers_that_never_come_end_the_run_at_the_deadline_with_progress(monkeypatch):
    worker = SimpleNamespace(__ray_ready__=SimpleNamespace(remote=object))
    monkeypatch.setattr(ray, "wait", lambda refs, **_: (Event().wait(0.05), ([], refs))[1])
    lines: list[str] = []
    pool = WorkerPool(ray, lambda: worker, 2, 0.5, lines.append)  # type: ignore[arg-type]
    with pytest.raises(NoWorkers, match="No worker of the Ray cluster was available within 0 s"), pool.worker():
        pass
    assert 2 <= len(lines) <= 6
    assert lines[0].startswith("waiting for a worker of the Ray cluster, 0 of 0 s")
