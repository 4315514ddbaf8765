"""The ledger of a store: a SQLite file with the state of every row, updated after each image.

A row counts as drawn only once its image exists in the store under its final name. However a run is killed,
the next run therefore finds each image either complete or waiting.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Literal

from ..errors import JobError
from ..imaging.png_metadata import read_recipe_from_image
from ..recipe import Recipe
from .fsspec_store import open_store
from .rows import Batch, BatchRow, plan_batches
from .store import Store

FILE, LOCK = "ledger.sqlite", "ledger.lock"

VERSION = 1
"""SQLite `user_version` of the schema."""

State = Literal["drawn", "failed", "waiting"]

RowStates = Mapping[str, tuple[State, str | None]]
"""State of each row by key, with the error of a failed one."""

_TABLE = """
CREATE TABLE IF NOT EXISTS rows (
    key TEXT PRIMARY KEY,          -- SHA-256 of the recipe
    file TEXT NOT NULL,            -- file name in the store
    recipe TEXT NOT NULL,          -- the requested recipe, JSON
    rank INTEGER NOT NULL,         -- order of generation
    batch INTEGER NOT NULL,        -- rows with equal numbers are generated in one call
    state TEXT NOT NULL,           -- waiting, drawn or failed
    error TEXT,                    -- of a failed row
    dtype TEXT                     -- the dtype of the model that generated the image
)
"""


class Ledger:
    """The rows of one store, from this manifest and from earlier ones. Use `Ledger.open` to create one."""

    def __init__(self, store: Store, connection: sqlite3.Connection) -> None:
        self.store, self._connection = store, connection

    @classmethod
    @contextmanager
    def open(cls, output: str | Path) -> "Iterator[Ledger]":
        """Open or create the ledger of a store and lock it for this process.

        Args:
            output: A folder, or the URL of a store that fsspec supports.

        Yields:
            The ledger; the lock is released at the end of the block.

        Raises:
            JobError: Another run holds the lock, the store cannot be written to, the file is not a ledger or
                has another version, or SQLite fails in the block.
        """
        store = open_store(output)
        folder = store.ledger_folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobError(f"The folder {folder} cannot be created ({error.strerror}).") from None
        path = folder / FILE
        try:
            with _lock(store), _connect(path) as connection:
                store.prepare()
                yield cls(store, connection)
        except sqlite3.Error as error:
            raise JobError(f"{path} could not be read or written: {error}.") from None

    def add_rows(self, rows: Sequence[BatchRow], size: int) -> None:
        """Add the rows that the ledger does not know, and compare all rows with the files of the store.

        Known rows keep their state and their batch. A drawn row whose image is missing becomes waiting; a
        waiting row whose image exists becomes drawn.

        Args:
            rows: Rows to generate.
            size: Largest number of rows in a new batch.
        """
        known = {key for (key,) in self._connection.execute("SELECT key FROM rows")}
        new = list({row.key: row for row in rows if row.key not in known}.values())
        first_rank, first_batch = self._next("rank"), self._next("batch")
        ranked = [
            (row, batch) for batch, planned in enumerate(plan_batches(new, size), first_batch) for row in planned
        ]
        with self._connection:
            self._connection.executemany(
                "INSERT INTO rows VALUES (?, ?, ?, ?, ?, 'waiting', NULL, NULL)",
                (
                    (row.key, row.file, row.recipe.to_json(), rank, batch)
                    for rank, (row, batch) in enumerate(ranked, first_rank)
                ),
            )
        self._compare_with_store()

    def retry_failed(self, rows: Iterable[BatchRow]) -> None:
        """Set those of the rows that failed to waiting."""
        with self._connection:
            self._connection.executemany(
                "UPDATE rows SET state = 'waiting', error = NULL WHERE key = ? AND state = 'failed'",
                ((row.key,) for row in rows),
            )

    def states(self, rows: Iterable[BatchRow]) -> dict[str, tuple[State, str | None]]:
        """Return state and error of the rows by key."""
        keys = {row.key for row in rows}
        found = self._connection.execute("SELECT key, state, error FROM rows")
        return {key: (state, error) for key, state, error in found if key in keys}

    def waiting_keys(self, rows: Iterable[BatchRow]) -> set[str]:
        """Return the keys of the rows that are neither drawn nor failed."""
        return {key for key, (state, _) in self.states(rows).items() if state == "waiting"}

    def count_other_rows(self, rows: Iterable[BatchRow]) -> int:
        """Return the number of rows from earlier manifests that are not among the given rows."""
        keys = {row.key for row in rows}
        return sum(key not in keys for (key,) in self._connection.execute("SELECT key FROM rows"))

    def waiting_batches(self, keys: Set[str]) -> list[Batch]:
        """Return the batches that contain a waiting row and any of the given rows.

        Batches are complete: rounding makes an image depend on the others of its call, so all rows are needed
        to repeat the same call.
        """
        found = self._connection.execute(
            "SELECT batch, key, recipe FROM rows WHERE batch IN "
            "(SELECT batch FROM rows WHERE state = 'waiting') ORDER BY rank"
        ).fetchall()
        batches = [list(group) for _, group in groupby(found, key=lambda row: row[0])]
        return [
            [BatchRow(Recipe.from_json(recipe)) for _, _, recipe in batch]
            for batch in batches
            if any(key in keys for _, key, _ in batch)
        ]

    def update_batches(self, batches: Iterable[Batch]) -> None:
        """Assign the rows to new batches."""
        first = self._next("batch")
        with self._connection:
            self._connection.executemany(
                "UPDATE rows SET batch = ? WHERE key = ?",
                ((number, row.key) for number, batch in enumerate(batches, first) for row in batch),
            )

    def dtypes(self) -> dict[str, str]:
        """Return the dtype in which images of this store were generated, by model name."""
        found = self._connection.execute(
            "SELECT json_extract(recipe, '$.model'), dtype FROM rows WHERE dtype IS NOT NULL ORDER BY rank DESC"
        )
        return dict(found.fetchall())

    def mark_generated(self, row: BatchRow, dtype: str | None) -> None:
        """Set a row to drawn. Call it only after the image was written.

        Args:
            row: A row of the ledger.
            dtype: The dtype of the model that generated the image.
        """
        self._update(row.key, "drawn", dtype=dtype)

    def mark_failed(self, row: BatchRow, error: str) -> None:
        """Set a row to failed, with its error in one line."""
        self._update(row.key, "failed", error=error)

    def _compare_with_store(self) -> None:
        """Correct the states of rows whose image is missing, or exists although the row is waiting."""
        found = self._connection.execute("SELECT key, file, state FROM rows WHERE state != 'failed'").fetchall()
        existing = self.store.existing_files([file for _, file, _ in found])
        for key, file, state in found:
            if file in existing and state == "waiting":
                with self.store.open_image(file) as image:
                    dtype = read_recipe_from_image(image, self.store.display_path(file)).dtype
                self._update(key, "drawn", dtype=dtype)
            elif file not in existing and state == "drawn":
                self._update(key, "waiting")

    def _update(self, key: str, state: State, *, error: str | None = None, dtype: str | None = None) -> None:
        with self._connection:
            self._connection.execute(
                "UPDATE rows SET state = ?, error = ?, dtype = ? WHERE key = ?", (state, error, dtype, key)
            )

    def _next(self, column: str) -> int:
        [highest] = self._connection.execute(f"SELECT coalesce(max({column}), 0) FROM rows").fetchone()
        return highest + 1


@contextmanager
def _lock(store: Store) -> Iterator[None]:
    """Hold SQLite's exclusive lock on an empty database; the lock ends with the process."""
    lock = sqlite3.connect(store.ledger_folder / LOCK, timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        raise JobError(f"{store} is in use by another run ({error}); wait for it, or choose another output.") from None
    try:
        yield
    finally:
        lock.close()


@contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path)
    try:
        # With a write-ahead log, SQLite recovers after a kill or a power cut when the file is next opened.
        connection.execute("PRAGMA journal_mode = WAL")
        # A power cut may lose the last transactions; `_compare_with_store` finds their images.
        connection.execute("PRAGMA synchronous = NORMAL")
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise JobError(f"{path} is a ledger of version {version}, expected {VERSION}; choose another output.")
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        yield connection
    finally:
        connection.close()
