"""A real Ray cluster of two nodes, one of which is lost: the pictures are those of one machine alone."""

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

from instantstyle.batch import BatchRow, Ledger, backend_named, draw_rows, manifest
from instantstyle.batch.backends import NoWorkers, ray_cluster
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.recipe import Recipe

from .conftest import pictures
from .stand_in import Painter, rows_of
from .workers import DIARY, Hand, Stillborn, Together, Witness

pytestmark = pytest.mark.slow

NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Any]:
    """One node with one CPU, and so one worker."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv(DIARY, str(tmp_path_factory.mktemp("diary") / "diary.txt"))
        made = _patiently(Cluster)(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def second(cluster) -> Any:
    """Another node, alive when the test begins."""
    return next(iter(cluster.worker_nodes), None) or _patiently(cluster.add_node)(**NODE)


@pytest.fixture
def diary(cluster) -> Iterator[Path]:
    """What the workers of this test tell."""
    path = Path(os.environ[DIARY])
    path.write_text("")
    yield path
    # Their places are free for the next test once nobody holds them.
    gc.collect()


def backend(cluster, kind: type, monkeypatch):
    monkeypatch.setattr(ray_cluster, "Worker", kind)
    return backend_named("ray", "cpu", address=cluster.address)


def drawn_into(folder: Path, rows, drawer) -> list:
    with Ledger.opened(folder) as ledger:
        ledger.enter(rows, drawer.size)
        return list(draw_rows(ledger, rows, drawer))


def test_each_reference_is_seen_by_one_worker_whoever_draws_with_it(
    cluster, second, diary, reference, tmp_path, monkeypatch
):
    names = [str(tmp_path / f"{name}.png") for name in ("ink", "neon")]
    for angle, name in enumerate(names):
        reference.rotate(90 * angle).save(name)
    styles = [{"references": ({"name": name},), "scale": 1 + n % 2} for n in range(10) for name in names]
    rows = [
        BatchRow(Recipe.model_validate({"prompt": f"thing {n}", "seed": n, **style}))
        for n, style in enumerate(styles)
    ]
    drawn_into(tmp_path / "far", rows, backend(cluster, Together, monkeypatch))
    told = [line.split(" ", 2) for line in diary.read_text().splitlines()]
    looks = [(what, node) for node, verb, what in told if verb == "looks"]
    # Two pictures, each in two settings.
    assert sorted(what for what, _ in looks) == sorted(names * 2)
    assert len(set(looks)) == 2
    assert len({node for node, verb, _ in told if verb == "begins"}) == 2


def test_a_row_that_costs_its_worker_the_life_fails_and_the_others_are_drawn(
    cluster, second, diary, tmp_path, monkeypatch
):
    rows = rows_of(6)
    fatal = [BatchRow(rows[0].recipe.but(prompt="fatal")), *rows[1:]]
    outcomes = drawn_into(tmp_path / "far", fatal, backend(cluster, Hand, monkeypatch))
    [failed] = [outcome for outcome in outcomes if outcome.error]
    assert failed.row == fatal[0]
    assert failed.error.startswith("The worker that drew it was lost, 3 times: The actor died")
    assert diary.read_text().count("begins fatal") == 3
    drawn_into(tmp_path / "here", rows[1:], Painter(dtype=None))
    assert pictures(tmp_path / "far") == pictures(tmp_path / "here")


def test_where_no_worker_can_begin_the_run_ends_and_its_rows_wait(cluster, diary, tmp_path, monkeypatch):
    with pytest.raises(NoWorkers, match=r"No worker of the Ray cluster can begin.*on each node\?"):
        drawn_into(tmp_path / "far", rows_of(2), backend(cluster, Stillborn, monkeypatch))
    with Ledger.opened(tmp_path / "far") as ledger:
        assert len(ledger.waiting(rows_of(2))) == 2


def test_a_node_is_lost_in_the_middle_and_nothing_else_is(
    cluster, second, diary, model, reference, tmp_path, monkeypatch
):
    reference.save(tmp_path / "ink.png")
    reference.rotate(90).save(tmp_path / "neon.png")
    rows = [
        {"prompt": f"thing {n}", "style": style, "seed": n, "scale": 1 + n % 2, "content": "a cat"}
        for n in range(4)
        for style in ("ink.png", "neon.png")
    ]
    short = {"num_inference_steps": 2, "height": 16, "width": 16, "model": str(model)}
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows = manifest(tmp_path / "jobs.jsonl", short)
    drawer = backend(cluster, Witness, monkeypatch)
    assert (drawer.workers, drawer.size) == (2, 1)

    def lose_a_node() -> None:
        _wait_until(lambda: _is_drawing_its_second(diary, second.node_id))
        cluster.remove_node(second, allow_graceful=False)

    with ThreadPoolExecutor() as fate:
        losing = fate.submit(lose_a_node)
        outcomes = drawn_into(tmp_path / "far", rows, drawer)
        losing.result()
    assert [outcome.error for outcome in outcomes] == [None] * 8
    told = [line.split(" ", 2)[1:] for line in diary.read_text().splitlines()]
    assert sum(verb == "begins" for verb, _ in told) == 9
    # Here too in the numbers that the first worker found to be the fastest.
    chosen = read_recipe(tmp_path / "far" / rows[0].file).dtype
    monkeypatch.setattr(
        "instantstyle.models.default_dtype.fastest_on_cpu", lambda: getattr(torch, str(chosen))
    )
    drawn_into(tmp_path / "here", rows, backend_named("local", "cpu"))
    assert pictures(tmp_path / "far") == pictures(tmp_path / "here")


def _is_drawing_its_second(diary: Path, node: str) -> bool:
    verbs = [line.split(" ")[1] for line in diary.read_text().splitlines() if line.startswith(node)]
    return verbs[-1:] == ["begins"] and "ends" in verbs


def _wait_until(condition, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _patiently(start: Callable[..., Any]) -> Callable[..., Any]:
    """A busy machine may take longer to start a node than the half minute that Ray gives it."""

    def tried(**settings: Any) -> Any:
        for _ in range(2):
            # Ray has no type for this.
            with suppress(Exception):
                return start(**settings)
        return start(**settings)

    return tried
