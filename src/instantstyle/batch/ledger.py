"""What of a store's pictures is drawn, waiting or failed: a SQLite file in its home, written as they come.

A picture counts only when it is there under its name, whole; so whatever kills a run, and whenever, the next
one finds each picture either there or waiting.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from ..errors import JobError
from ..imaging.png_metadata import recipe_from_image
from ..recipe import Recipe
from .fsspec_store import store_at
from .rows import Batch, BatchRow, planned
from .store import Store

FILE, LOCK = "ledger.sqlite", "ledger.lock"

VERSION = 1

_TABLE = """
CREATE TABLE IF NOT EXISTS rows (
    key TEXT PRIMARY KEY,          -- of the recipe
    file TEXT NOT NULL,            -- in the store
    recipe TEXT NOT NULL,          -- as asked for, JSON
    rank INTEGER NOT NULL,         -- in which order they are drawn
    batch INTEGER NOT NULL,        -- what is drawn in one call
    state TEXT NOT NULL,           -- waiting, drawn or failed
    error TEXT,                    -- of a failed one
    dtype TEXT                     -- which numbers a drawn one was drawn with
)
"""


class Ledger:
    """The rows of one store, of this manifest and of former ones. Open it with `Ledger.opened`."""

    def __init__(self, store: Store, base: sqlite3.Connection) -> None:
        self.store, self._base = store, base

    @classmethod
    @contextmanager
    def opened(cls, output: str | Path) -> "Iterator[Ledger]":
        """For this process alone; `JobError` while another draws into the store. Made where it is not.

        `output`: a folder, or the URL of a store that fsspec knows.
        """
        store = store_at(output)
        try:
            store.home.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise JobError(f"{store.home} cannot be a folder of a batch ({fault.strerror}).") from None
        path = store.home / FILE
        with _faults_told(path), _locked(store), _connected(path) as base:
            store.begin()
            yield cls(store, base)

    def enter(self, rows: Sequence[BatchRow], size: int) -> None:
        """Rows that are new, in batches of `size`; those known keep their state and their batch.

        What is counted as drawn and is not there waits again; what is there is counted.
        """
        known = {key for (key,) in self._base.execute("SELECT key FROM rows")}
        new = list({row.key: row for row in rows if row.key not in known}.values())
        first_rank, first_batch = self._next("rank"), self._next("batch")
        ranked = ((row, batch) for batch, rows in enumerate(planned(new, size), first_batch) for row in rows)
        with self._base:
            self._base.executemany(
                "INSERT INTO rows VALUES (?, ?, ?, ?, ?, 'waiting', NULL, NULL)",
                (
                    (row.key, row.file, row.recipe.to_json(), rank, batch)
                    for rank, (row, batch) in enumerate(ranked, first_rank)
                ),
            )
        self._compare_with_store()

    def retry_failed(self, rows: Iterable[BatchRow]) -> None:
        """Those of the rows that failed wait again."""
        with self._base:
            self._base.executemany(
                "UPDATE rows SET state = 'waiting', error = NULL WHERE key = ? AND state = 'failed'",
                ((row.key,) for row in rows),
            )

    def states(self, rows: Iterable[BatchRow]) -> dict[str, tuple[str, str | None]]:
        """By key: `waiting`, `drawn` or `failed`, and the error of a failed one."""
        asked = {row.key for row in rows}
        found = self._base.execute("SELECT key, state, error FROM rows")
        return {key: (state, error) for key, state, error in found if key in asked}

    def waiting(self, rows: Iterable[BatchRow]) -> set[str]:
        """The keys of those rows that are neither drawn nor failed."""
        return {key for key, (state, _) in self.states(rows).items() if state == "waiting"}

    def others(self, rows: Iterable[BatchRow]) -> int:
        """How many pictures of former manifests the store has, which are no longer asked for."""
        asked = {row.key for row in rows}
        return sum(key not in asked for (key,) in self._base.execute("SELECT key FROM rows"))

    def batches(self, keys: Set[str]) -> list[Batch]:
        """Those with any of these rows, whole: what else is in them is needed to draw them as planned."""
        found = self._base.execute(
            "SELECT batch, key, recipe FROM rows WHERE batch IN "
            "(SELECT batch FROM rows WHERE state = 'waiting') ORDER BY rank"
        ).fetchall()
        batches = [list(group) for _, group in groupby(found, key=lambda one: one[0])]
        return [
            [BatchRow(Recipe.from_json(recipe)) for _, _, recipe in batch]
            for batch in batches
            if any(key in keys for _, key, _ in batch)
        ]

    def replan(self, batches: Iterable[Batch]) -> None:
        """These rows are to be drawn in these batches."""
        first = self._next("batch")
        with self._base:
            self._base.executemany(
                "UPDATE rows SET batch = ? WHERE key = ?",
                ((number, row.key) for number, batch in enumerate(batches, first) for row in batch),
            )

    def dtypes(self) -> dict[str, str]:
        """By model: the numbers with which pictures of this store were drawn."""
        found = self._base.execute(
            "SELECT json_extract(recipe, '$.model'), dtype FROM rows "
            "WHERE dtype IS NOT NULL ORDER BY rank DESC"
        )
        return dict(found.fetchall())

    def mark_drawn(self, row: BatchRow, dtype: str | None) -> None:
        """Said only once its file is there."""
        self._mark(row.key, "drawn", dtype=dtype)

    def mark_failed(self, row: BatchRow, error: str) -> None:
        self._mark(row.key, "failed", error=error)

    def _compare_with_store(self) -> None:
        found = self._base.execute("SELECT key, file, state FROM rows WHERE state != 'failed'").fetchall()
        there = self.store.there([file for _, file, _ in found])
        for key, file, state in found:
            if file in there and state == "waiting":
                self._mark(key, "drawn", dtype=self._dtype_of(file))
            elif file not in there and state == "drawn":
                self._mark(key, "waiting")

    def _dtype_of(self, file: str) -> str | None:
        with self.store.picture(file) as image:
            return recipe_from_image(image, self.store.at(file)).dtype

    def _mark(self, key: str, state: str, *, error: str | None = None, dtype: str | None = None) -> None:
        with self._base:
            self._base.execute(
                "UPDATE rows SET state = ?, error = ?, dtype = ? WHERE key = ?", (state, error, dtype, key)
            )

    def _next(self, column: str) -> int:
        [highest] = self._base.execute(f"SELECT coalesce(max({column}), 0) FROM rows").fetchone()
        return highest + 1


@contextmanager
def _locked(store: Store) -> Iterator[None]:
    """SQLite's own lock, on a file without content: it dies with the process that holds it."""
    lock = sqlite3.connect(store.home / LOCK, timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as fault:
        lock.close()
        raise JobError(
            f"{store} is drawn into by another run ({fault}); wait for it, or write elsewhere."
        ) from None
    try:
        yield
    finally:
        lock.close()


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    base = sqlite3.connect(path)
    try:
        # A log ahead of the file: after a kill or a power cut it is taken up by whoever opens it next.
        base.execute("PRAGMA journal_mode = WAL")
        # A power cut may take the last words of the log; the pictures that they told of are there to be seen.
        base.execute("PRAGMA synchronous = NORMAL")
        [version] = base.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise JobError(f"{path} is a ledger of version {version}, not {VERSION}; write elsewhere.")
        base.execute(_TABLE)
        base.execute(f"PRAGMA user_version = {VERSION}")
        yield base
    finally:
        base.close()


@contextmanager
def _faults_told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as fault:
        raise JobError(f"{path} could not be read or written: {fault}.") from None
