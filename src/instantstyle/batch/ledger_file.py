"""The file of a ledger: its schema, the lock of a run, and errors of SQLite as one line each."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import get_args

from ..errors import JobError
from ..recipe_types import Dtype
from ..utils.text import cut, one_line
from .store import Store

FILE, LOCK = "ledger.sqlite", "ledger.lock"

VERSION = 1
"""SQLite `user_version` of the schema."""

_TABLES = """
CREATE TABLE IF NOT EXISTS rows (
    key TEXT PRIMARY KEY,          -- SHA-256 of the recipe
    file TEXT NOT NULL,            -- file name in the store
    recipe TEXT NOT NULL,          -- the requested recipe, JSON
    rank INTEGER NOT NULL,         -- order of generation
    batch INTEGER NOT NULL,        -- rows with equal numbers are generated in one call
    state TEXT NOT NULL,           -- waiting, drawn or failed
    error TEXT,                    -- of a failed row
    dtype TEXT                     -- the dtype of the model that generated the image
);
CREATE TABLE IF NOT EXISTS checked (
    file TEXT PRIMARY KEY,         -- file name in the store
    version TEXT NOT NULL          -- `StoredFile.version` of the file that was found to be complete
);
"""

_COLUMNS = {
    "rows": {"key", "file", "recipe", "rank", "batch", "state", "error", "dtype"},
    "checked": {"file", "version"},
}

_DTYPES = ", ".join(f"'{name}'" for name in get_args(Dtype))

# SQLite stores values of any type in any column, and other programs can write into the file.
_DAMAGED_ROWS = f"""
SELECT count(*) FROM rows WHERE
    typeof(key) != 'text' OR typeof(file) != 'text' OR typeof(recipe) != 'text'
    OR typeof(error) NOT IN ('null', 'text') OR typeof(rank) != 'integer' OR typeof(batch) != 'integer'
    OR rank NOT BETWEEN 0 AND 1e15 OR batch NOT BETWEEN 0 AND 1e15
    OR coalesce(state, '') NOT IN ('waiting', 'drawn', 'failed')
    OR dtype NOT IN ({_DTYPES}) OR NOT json_valid(recipe)
"""

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

_UNREADABLE = (
    *(sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB),
    *(sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH),
)
"""Errors of a damaged file. A run breaks no constraint of its tables, but an index can be damaged."""

_WRITE_TEST_BYTES = 64 * 2**10


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Convert the errors of SQLite to `JobError`.

    Args:
        path: The file that is read and written.

    Raises:
        JobError: SQLite fails in the block. A disk that is full, read-only or over its quota is named as such.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise describe_error(error, path) from None


def describe_error(error: sqlite3.Error, path: Path) -> JobError:
    """Describe an error of SQLite, whose own texts hide what the operating system reported.

    Args:
        error: The error.
        path: The file that was read or written.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _BUSY:
        return JobError(f"{path} is locked by another program; close it and run the same command again.")
    if fault := _find_write_fault(path.parent):
        return JobError(f"{path} could not be written: {fault}.")
    reason = cut(one_line(error), 200)
    hint = "; move it away: images that are complete count without it" if code in _UNREADABLE else ""
    return JobError(f"{path} could not be read or written: {reason}{hint}.")


@contextmanager
def lock(store: Store) -> Iterator[None]:
    """Hold SQLite's exclusive lock on an empty database; the lock ends with the process.

    Raises:
        JobError: Another run holds the lock, or the file cannot be created.
    """
    path = store.ledger_folder / LOCK
    _check_kind(path)
    with translate_errors(path):
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            connection.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
                raise JobError(
                    f"{store} is in use by another run ({error}); wait for it, or choose another output."
                ) from None
            raise
    try:
        yield
    finally:
        connection.close()


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """Open or create a ledger and check its rows.

    Args:
        path: The file.

    Yields:
        The connection. All its rows have values of the right types.

    Raises:
        JobError: The file is the database of another program, of another version or damaged.
        sqlite3.Error: It cannot be read or written.
    """
    _check_kind(path)
    with closing(sqlite3.connect(path)) as connection:
        try:
            _prepare(connection, path)
        # Python cannot decode SQLite's own error message where this quotes a damaged schema.
        except UnicodeDecodeError:
            raise _damaged(path, "its schema is not text") from None
        yield connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _check_schema(connection, path)
    # With a write-ahead log, SQLite recovers after a kill or a power cut when the file is next opened.
    connection.execute("PRAGMA journal_mode = WAL")
    # A power cut may lose the last transactions; comparing with the store finds their images.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_TABLES)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    _check_rows(connection, path)


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, VERSION):
        raise JobError(f"{path} is a ledger of version {version}, expected {VERSION}; choose another output.")
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall():
        columns = {column[1] for column in connection.execute("SELECT * FROM pragma_table_info(?)", (table,))}
        if table in _COLUMNS and _COLUMNS[table] != columns:
            raise _damaged(path, f"its table {table} has other columns")
        if table not in _COLUMNS and not table.startswith("sqlite_"):
            raise JobError(
                f"{path} is a database of another program, which has a table {cut(one_line(table), 80)}; choose "
                "another output."
            )


def _check_rows(connection: sqlite3.Connection, path: Path) -> None:
    # Finds rows that their index does not: SQLite changes none of them, and reports no error.
    [found] = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise _damaged(path, cut(one_line(found), 120))
    [damaged] = connection.execute(_DAMAGED_ROWS).fetchone()
    if damaged:
        raise _damaged(path, f"{damaged} of its rows have values that no run writes")


def _check_kind(path: Path) -> None:
    """Raise `JobError` for a folder or pipe, which SQLite opens with an error that names neither."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise JobError(f"{cut(str(path), 300)} is not a regular file; move it away, or choose another output.")


def _damaged(path: Path, reason: str) -> JobError:
    return JobError(f"{path} is damaged: {reason}; move it away: images that are complete count without it.")


def _find_write_fault(folder: Path) -> str | None:
    """Write some bytes into a folder; return what the operating system reports if it cannot."""
    path = folder / f".instantstyle-{os.getpid()}"
    try:
        with path.open("wb") as file:
            file.write(bytes(_WRITE_TEST_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return one_line(error.strerror or error)
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return None
