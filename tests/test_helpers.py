"""Helpers of tests that have rules of their own."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier, get_ident

import pytest

from .helpers import run_once


def test_jobs_run_once_and_are_divided_among_the_workers(tmp_path: Path):
    together, ran = Barrier(2, timeout=60), dict[str, list[int]]()

    def run(name: str) -> None:
        ran.setdefault(name, []).append(get_ident())
        together.wait()

    jobs = {name: partial(run, name) for name in "ab"}
    with ThreadPoolExecutor(2) as workers:
        for worker in [workers.submit(run_once, tmp_path, jobs) for _ in range(2)]:
            worker.result()
    assert sorted(ran) == ["a", "b"]
    assert [len(by) for by in ran.values()] == [1, 1]
    assert ran["a"] != ran["b"]


def test_a_job_that_failed_is_run_again(tmp_path: Path):
    ran: list[str] = []

    def fail() -> None:
        ran.append("fail")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        run_once(tmp_path, {"a": fail})
    run_once(tmp_path, {"a": lambda: ran.append("again")})
    run_once(tmp_path, {"a": lambda: ran.append("never")})
    assert ran == ["fail", "again"]
