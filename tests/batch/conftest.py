"""An output folder for a batch, and the command with a small random model."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from instantstyle.batch import BatchRow, Ledger, Outcome, generate_rows
from instantstyle.batch.backends import Backend

from ..cli.conftest import model, run
from .disk import Disk

__all__ = ["Disk", "model", "run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def ledgers(monkeypatch, tmp_path) -> Path:
    """Folder for ledgers of stores behind URLs, instead of the user's own."""
    monkeypatch.setenv("INSTANTSTYLE_LEDGERS", str(tmp_path / "ledgers"))
    return tmp_path / "ledgers"


@pytest.fixture
def generate(folder) -> Callable[..., list[Outcome]]:
    """One run into the folder."""
    return partial(generate_into, folder)


def generate_into(
    output: str | Path,
    rows: Sequence[BatchRow],
    backend: Backend,
    size: int = 1,
    *,
    retry: bool = False,
    on_message: Callable[[str], None] = print,
) -> list[Outcome]:
    """One run, from opening the ledger to closing it."""
    with Ledger.open(output) as ledger:
        ledger.add_rows(rows, size)
        if retry:
            ledger.retry_failed(rows)
        return list(generate_rows(ledger, rows, backend, on_message))


def read_files(folder: Path) -> dict[str, bytes]:
    """Read all files of an output folder except the ledger."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("ledger.")}
