"""Tables as CSV files."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from .atomic_write import atomic_write


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV in UTF-8; an existing file is replaced.

    Args:
        path: The file.
        rows: Rows of cells, the titles of the columns first.
    """
    with atomic_write(path, force=True) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
