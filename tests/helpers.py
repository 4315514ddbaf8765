"""Helpers that several tests use."""

import os
import time
from collections.abc import Callable, Mapping
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import pytest
from torch import Generator

from instantstyle import InstantStyleError


def seeded_generator(seed: int) -> Generator:
    """Return a CPU generator with a seed."""
    return Generator().manual_seed(seed)


def find_offence(action: Callable[[], str | None], *, seconds: float, message: int, hidden: str = "") -> str | None:
    """Run an action on changed input, and describe what should not have happened.

    Args:
        action: Describes an offence itself, or raises.
        seconds: Largest processor time.
        message: Largest number of characters of a typed error.
        hidden: A part of error messages that does not count, such as the folder of the test.
    """
    begin, offence = time.process_time(), None
    try:
        offence = action()
    except InstantStyleError as error:
        text = str(error).replace(hidden, "")
        if "\n" in text or len(text) > message:
            offence = f"{type(error).__name__} of {len(text)} characters: {text[:200]!r}"
    except BaseException as error:
        offence = f"{type(error).__name__}: {str(error)[:300]}"
    taken = time.process_time() - begin
    return offence or (f"{taken:.0f} s" if taken > seconds else None)


def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Create a folder that all workers of pytest-xdist have in a run of the tests."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    folder.mkdir(exist_ok=True)
    return folder


def run_once(folder: Path, jobs: Mapping[str, Callable[[], object]]) -> None:
    """Run the jobs of a fixture once, divided among the workers that have the fixture.

    Args:
        folder: A folder that all workers have, see `shared_folder`; the jobs leave their results there.
        jobs: Jobs by name. First a worker runs those that no other has begun, then it waits for the others' jobs,
            and runs those that failed.
    """
    for flags in (LOCK_EX | LOCK_NB, LOCK_EX):
        for name, job in jobs.items():
            done = folder / f"{name}.done"
            with (folder / f"{name}.lock").open("w") as lock:
                try:
                    flock(lock, flags)
                except BlockingIOError:
                    continue
                if not done.exists():
                    job()
                    done.touch()
