"""A real Ray cluster of two nodes generates the same images as one machine, also if it loses a node."""

import gc
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.cluster_utils import Cluster

from instantstyle.batch import BatchRow, Ledger, create_backend, generate_rows, read_manifest
from instantstyle.batch.backends import NoWorkers, ray_cluster
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.recipe import Recipe

from .conftest import read_files
from .stub_backend import StubBackend, make_rows
from .workers import LOG_VARIABLE, FailingWorker, SlowWorker, StubWorker, SynchronizedWorker

pytestmark = pytest.mark.slow

NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Any]:
    """A cluster of one node with one CPU, and therefore one worker."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv(LOG_VARIABLE, str(tmp_path_factory.mktemp("log") / "log.txt"))
        started = _retrying(Cluster)(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        yield started
        ray.shutdown()
        started.shutdown()


@pytest.fixture
def second(cluster) -> Any:
    """A second node, alive when the test begins."""
    return next(iter(cluster.worker_nodes), None) or _retrying(cluster.add_node)(**NODE)


@pytest.fixture
def log(cluster) -> Iterator[Path]:
    """The log of the workers of this test."""
    path = Path(os.environ[LOG_VARIABLE])
    path.write_text("")
    yield path
    # The workers' resources are free for the next test once their handles are collected.
    gc.collect()


def make_backend(cluster, worker: type, monkeypatch):
    monkeypatch.setattr(ray_cluster, "Worker", worker)
    return create_backend("ray", "cpu", address=cluster.address)


def generate_into(folder: Path, rows, backend) -> list:
    with Ledger.open(folder) as ledger:
        ledger.add_rows(rows, backend.batch_size)
        return list(generate_rows(ledger, rows, backend))


def test_each_reference_is_encoded_by_one_worker(cluster, second, log, reference, tmp_path, monkeypatch):
    names = [str(tmp_path / f"{name}.png") for name in ("ink", "neon")]
    for angle, name in enumerate(names):
        reference.rotate(90 * angle).save(name)
    styles = [{"references": ({"name": name},), "scale": 1 + n % 2} for n in range(10) for name in names]
    rows = [
        BatchRow(Recipe.model_validate({"prompt": f"thing {n}", "seed": n, **style})) for n, style in enumerate(styles)
    ]
    generate_into(tmp_path / "far", rows, make_backend(cluster, SynchronizedWorker, monkeypatch))
    events = [line.split(" ", 2) for line in log.read_text().splitlines()]
    encoded = [(file, node) for node, verb, file in events if verb == "encodes"]
    # Two references, each in two settings.
    assert sorted(file for file, _ in encoded) == sorted(names * 2)
    assert len(set(encoded)) == 2
    assert len({node for node, verb, _ in events if verb == "begins"}) == 2


def test_a_row_that_kills_its_worker_fails_and_the_others_are_generated(cluster, second, log, tmp_path, monkeypatch):
    rows = make_rows(6)
    fatal = [BatchRow(rows[0].recipe.replace(prompt="fatal")), *rows[1:]]
    outcomes = generate_into(tmp_path / "far", fatal, make_backend(cluster, StubWorker, monkeypatch))
    [failed] = [outcome for outcome in outcomes if outcome.error]
    assert failed.row == fatal[0]
    assert failed.error.startswith("The worker that generated it was lost, 3 times: The actor died")
    assert log.read_text().count("begins fatal") == 3
    generate_into(tmp_path / "here", rows[1:], StubBackend(dtype=None))
    assert read_files(tmp_path / "far") == read_files(tmp_path / "here")


def test_without_workers_the_run_ends_and_its_rows_wait(cluster, log, tmp_path, monkeypatch):
    with pytest.raises(NoWorkers, match=r"No worker of the Ray cluster can start.*on each node\?"):
        generate_into(tmp_path / "far", make_rows(2), make_backend(cluster, FailingWorker, monkeypatch))
    with Ledger.open(tmp_path / "far") as ledger:
        assert len(ledger.waiting_keys(make_rows(2))) == 2


def test_a_lost_node_loses_no_image(cluster, second, log, model, reference, tmp_path, monkeypatch):
    reference.save(tmp_path / "ink.png")
    reference.rotate(90).save(tmp_path / "neon.png")
    rows = [
        {"prompt": f"thing {n}", "style": style, "seed": n, "scale": 1 + n % 2, "content": "a cat"}
        for n in range(4)
        for style in ("ink.png", "neon.png")
    ]
    short = {"num_inference_steps": 2, "height": 16, "width": 16, "model": str(model)}
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows = read_manifest(tmp_path / "jobs.jsonl", short)
    backend = make_backend(cluster, SlowWorker, monkeypatch)
    assert (backend.workers, backend.batch_size) == (2, 1)

    def remove_second_node() -> None:
        _wait_until(lambda: _generates_its_second_image(log, second.node_id))
        cluster.remove_node(second, allow_graceful=False)

    with ThreadPoolExecutor() as pool:
        removal = pool.submit(remove_second_node)
        outcomes = generate_into(tmp_path / "far", rows, backend)
        removal.result()
    assert [outcome.error for outcome in outcomes] == [None] * 8
    events = [line.split(" ", 2)[1:] for line in log.read_text().splitlines()]
    assert sum(verb == "begins" for verb, _ in events) == 9
    # Use the dtype that the first worker measured to be the fastest on this machine too.
    chosen = read_recipe(tmp_path / "far" / rows[0].file).dtype
    monkeypatch.setattr("instantstyle.models.default_dtype.fastest_cpu_dtype", lambda: getattr(torch, str(chosen)))
    generate_into(tmp_path / "here", rows, create_backend("local", "cpu"))
    assert read_files(tmp_path / "far") == read_files(tmp_path / "here")


def _generates_its_second_image(log: Path, node: str) -> bool:
    verbs = [line.split(" ")[1] for line in log.read_text().splitlines() if line.startswith(node)]
    return verbs[-1:] == ["begins"] and "ends" in verbs


def _wait_until(condition, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _retrying(start: Callable[..., Any]) -> Callable[..., Any]:
    """Retry, because a busy machine may need longer to start a node than the 30 seconds that Ray allows."""

    def start_with_retries(**settings: Any) -> Any:
        for _ in range(2):
            # Ray raises no specific exception here.
            with suppress(Exception):
                return start(**settings)
        return start(**settings)

    return start_with_retries
