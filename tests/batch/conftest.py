"""A folder for a batch, and the command with the small random model."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from instantstyle.batch import BatchRow, Ledger, Outcome, draw_rows

from ..cli.conftest import model, run
from .disk import Disk
from .stand_in import Painter

__all__ = ["Disk", "model", "run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def ledgers(monkeypatch, tmp_path) -> Path:
    """Of stores behind URLs; never those of whoever runs the tests."""
    monkeypatch.setenv("INSTANTSTYLE_LEDGERS", str(tmp_path / "ledgers"))
    return tmp_path / "ledgers"


@pytest.fixture
def draw(folder) -> Callable[..., list[Outcome]]:
    """One run into the folder."""
    return partial(draw_into, folder)


def draw_into(
    output: str | Path,
    rows: Sequence[BatchRow],
    painter: Painter,
    size: int = 1,
    *,
    retry: bool = False,
    tell: Callable[[str], None] = print,
) -> list[Outcome]:
    """One run, from opening the ledger to closing it."""
    with Ledger.opened(output) as ledger:
        ledger.enter(rows, size)
        if retry:
            ledger.retry_failed(rows)
        return list(draw_rows(ledger, rows, painter, tell))


def pictures(folder: Path) -> dict[str, bytes]:
    """All that a run left in its folder beside the ledger."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("ledger.")}
