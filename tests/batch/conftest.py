"""A folder for a batch, and the command with the small random model."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from instantstyle.batch import Ledger, Outcome, Row, draw_rows

from ..cli.conftest import model, run
from .painter import Painter

__all__ = ["model", "run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def draw(folder) -> Callable[..., list[Outcome]]:
    """One run, from opening the ledger to closing it."""

    def once(rows: Sequence[Row], painter: Painter, size: int = 1, *, retry: bool = False, tell=print):
        with Ledger.opened(folder) as ledger:
            ledger.enter(rows, size)
            if retry:
                ledger.retry_failed(rows)
            return list(draw_rows(ledger, rows, painter, tell))

    return once


def pictures(folder: Path) -> dict[str, bytes]:
    """All that a run left in its folder beside the ledger."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("ledger.")}
