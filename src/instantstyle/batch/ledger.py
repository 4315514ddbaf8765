"""The ledger of a store: a SQLite file with the state of every row, updated after each image.

A row counts as drawn only once its image exists in the store under its final name, is complete and carries the
row's key. However a run is killed, the next run therefore finds each image either complete or waiting.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Literal

from PIL import Image

from ..errors import JobError
from ..imaging.png_metadata import RECIPE_KEY, write_png
from ..recipe import Recipe
from ..utils.text import cut, one_line
from .fsspec_store import open_store
from .ledger_file import FILE, connect, lock, translate_errors
from .rows import Batch, BatchRow, plan_batches
from .store import Store, StoredFile

ROW_KEY = "instantstyle:row"
"""PNG text key of the key of the row that an image was generated for."""

State = Literal["drawn", "failed", "waiting"]

RowStates = Mapping[str, tuple[State, str | None]]
"""State of each row by key, with the error of a failed one."""


class Ledger:
    """The rows of one store, from this manifest and from earlier ones. Use `Ledger.open` to create one."""

    def __init__(self, store: Store, connection: sqlite3.Connection) -> None:
        self.store, self._connection = store, connection
        self.damaged: set[str] = set()
        """Names of files that are not the image of their row: damaged, cut short, or another image."""
        # Sizes of the images that this run wrote; they are not read again to see whether they are complete.
        self._written: dict[str, int] = {}

    @classmethod
    @contextmanager
    def open(cls, output: str | Path) -> "Iterator[Ledger]":
        """Open or create the ledger of a store and lock it for this process.

        Args:
            output: A folder, or the URL of a store that fsspec supports.

        Yields:
            The ledger; the lock is released at the end of the block.

        Raises:
            JobError: Another run holds the lock, the store cannot be written to, the file is not a ledger, is
                damaged or has another version, or SQLite fails in the block.
        """
        store = open_store(output)
        folder = store.ledger_folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = one_line(error.strerror or error)
            raise JobError(
                f"The folder {cut(str(folder), 200)} cannot be created ({reason}); choose another output."
            ) from None
        path = folder / FILE
        with lock(store), translate_errors(path), connect(path) as connection:
            store.prepare()
            yield cls(store, connection)

    def add_rows(self, rows: Sequence[BatchRow], size: int) -> None:
        """Add the rows that the ledger does not know, and compare all rows with the files of the store.

        Known rows keep their state and their batch, apart from what `compare_with_store` finds.

        Args:
            rows: Rows to generate.
            size: Largest number of rows in a new batch.

        Raises:
            JobError: The store cannot be read.
        """
        known = dict(self._connection.execute("SELECT key, file FROM rows").fetchall())
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
            # Images are written under the name that this version gives them.
            self._connection.executemany(
                "UPDATE rows SET file = ? WHERE key = ?",
                ((row.file, row.key) for row in rows if known.get(row.key, row.file) != row.file),
            )
        self.compare_with_store()

    def compare_with_store(self) -> None:
        """Correct the states of rows by the files of the store.

        A drawn row becomes waiting unless its image is there, complete and carries the row's key; a waiting row
        whose image is so becomes drawn. A file is read only if it changed since it was last found to be complete.

        Raises:
            JobError: The store cannot be read.
        """
        found = self._connection.execute("SELECT key, file, state FROM rows WHERE state != 'failed'").fetchall()
        rows = {file: (key, state) for key, file, state in found}
        stored = self.store.list_files(rows.keys())
        checked = dict(self._connection.execute("SELECT file, version FROM checked").fetchall())
        checked |= {name: file.version for name, file in stored.items() if file.size == self._written.get(name, -1)}
        known = {
            name for name, file in stored.items() if checked.get(name) == file.version and rows[name][1] == "drawn"
        }
        dtypes = self._read_dtypes({name: file for name, file in stored.items() if name not in known}, rows)
        complete = known | dtypes.keys()
        self.damaged = stored.keys() - complete
        with self._connection:
            self._connection.execute("DELETE FROM checked")
            self._connection.executemany(
                "INSERT INTO checked VALUES (?, ?)", ((name, stored[name].version) for name in complete)
            )
            self._connection.executemany(
                "UPDATE rows SET state = 'drawn', dtype = ? WHERE key = ?",
                ((dtype, rows[name][0]) for name, dtype in dtypes.items()),
            )
            self._connection.executemany(
                "UPDATE rows SET state = 'waiting', dtype = NULL WHERE key = ?",
                (
                    (key,)
                    for name, (key, state) in rows.items()
                    if state == "drawn" and name not in known | dtypes.keys()
                ),
            )

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

    def waiting_batches(self, rows: Mapping[str, BatchRow]) -> list[Batch]:
        """Return the batches that contain a waiting row and any of the given rows.

        Batches are complete: rounding makes an image depend on the others of its call, so all rows are needed
        to repeat the same call.

        Args:
            rows: Rows to generate, by key.

        Returns:
            The batches, with the given rows, and with those of the ledger where they belong to the same call.

        Raises:
            JobError: The recipe of another row of these batches is not valid.
        """
        found = self._connection.execute(
            "SELECT batch, key, recipe FROM rows WHERE batch IN "
            "(SELECT batch FROM rows WHERE state = 'waiting') ORDER BY rank"
        ).fetchall()
        batches = [[(key, recipe) for _, key, recipe in group] for _, group in groupby(found, key=lambda row: row[0])]
        return [
            # Prefer the rows as given: their files may have moved since the ledger saved them.
            [rows.get(key) or self._read_row(key, recipe) for key, recipe in batch]
            for batch in batches
            if any(key in rows for key, _ in batch)
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

    def save_image(self, row: BatchRow, image: Image.Image, recipe: Recipe) -> None:
        """Write the image of a row, then set the row to drawn.

        Args:
            row: A row of the ledger.
            image: The image.
            recipe: The complete recipe that reproduces it.

        Raises:
            JobError: The image could not be written.
        """
        with self.store.open_writer(row.file) as file:
            write_png(image, file, recipe, {ROW_KEY: row.key})
            size = file.tell()
        self._written[row.file] = size
        self.mark_generated(row, recipe.dtype)

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

    def _read_dtypes(
        self, files: Mapping[str, StoredFile], rows: Mapping[str, tuple[str, State]]
    ) -> dict[str, str | None]:
        """Read the dtype of each file that is the complete image of its row; others are left out."""
        dtypes: dict[str, str | None] = {}
        for name, texts in self.store.read_texts(files):
            key, _ = rows[name]
            if texts is None or RECIPE_KEY not in texts:
                continue
            try:
                made = Recipe.from_json(texts[RECIPE_KEY])
                carried = texts.get(ROW_KEY) or self._key_of_image(key, made)
            except JobError:
                continue
            if carried == key:
                dtypes[name] = made.dtype
        return dtypes

    def _key_of_image(self, key: str, made: Recipe) -> str:
        """Compute the key of an image that carries none: one of `generate`, or of an earlier version."""
        [recipe] = self._connection.execute("SELECT recipe FROM rows WHERE key = ?", (key,)).fetchone()
        return self._read_row(key, recipe).key_of_image(made)

    def _read_row(self, key: str, recipe: str) -> BatchRow:
        try:
            return BatchRow(Recipe.from_json(recipe))
        except JobError as error:
            raise JobError(f"The ledger of {self.store} is damaged, row {one_line(key, 12)}: {error}") from None

    def _update(self, key: str, state: State, *, error: str | None = None, dtype: str | None = None) -> None:
        with self._connection:
            self._connection.execute(
                "UPDATE rows SET state = ?, error = ?, dtype = ? WHERE key = ?", (state, error, dtype, key)
            )

    def _next(self, column: str) -> int:
        [highest] = self._connection.execute(f"SELECT coalesce(max({column}), 0) FROM rows").fetchone()
        return highest + 1
