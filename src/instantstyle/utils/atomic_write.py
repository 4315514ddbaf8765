"""Atomic writing of files: a file is either complete or absent, and is overwritten only on request."""

import os
import re
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..errors import JobError

_DRAFT_NAME = re.compile(r"\..+\.[0-9a-f]{32}\.part")


def check_writable(path: Path, *, force: bool = False) -> None:
    """Check that a file can be written, before the work whose result it will hold.

    Args:
        path: The file.
        force: Whether it may be overwritten.

    Raises:
        JobError: `path` is a folder or exists already, or its folder is missing or not writable.
    """
    if path.is_dir():
        raise JobError(f"{path} is a folder; name a file in it, such as {path / f'out{path.suffix}'}.")
    if path.exists() and not force:
        raise _exists_error(path)
    if not path.parent.is_dir():
        raise JobError(f"{path.parent} is not a folder; create it first, or write elsewhere.")
    if not os.access(path.parent, os.W_OK):
        raise JobError(f"{path.parent} cannot be written to; write elsewhere.")


@contextmanager
def atomic_write(path: Path, *, force: bool = False) -> Generator[Path]:
    """Write a file atomically.

    The `with` block writes the draft. On exit the draft is flushed to disk and renamed to `path`; if the
    block raises an exception, the draft is deleted and `path` is unchanged.

    Args:
        path: The file.
        force: Whether an existing file may be overwritten.

    Yields:
        Path of the draft, in the same folder, because a rename is atomic only within one file system.

    Raises:
        JobError: The file exists already, or the file system reports an error.
    """
    draft = path.with_name(make_draft_name(path.name))
    try:
        yield draft
        # Without this, a power failure after the rename could leave an empty file.
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        if force:
            os.replace(draft, path)
        else:
            _rename_exclusively(draft, path)
    except FileExistsError:
        raise _exists_error(path) from None
    except OSError as error:
        raise JobError(f"{path} could not be written: {error.strerror or error}.") from None
    finally:
        draft.unlink(missing_ok=True)


def remove_drafts(folder: Path) -> None:
    """Delete the drafts of killed processes. No process may be writing into the folder."""
    for path in folder.glob(".*.part"):
        if is_draft_name(path.name):
            path.unlink(missing_ok=True)


def make_draft_name(name: str) -> str:
    """Make a unique hidden name for an incomplete file: `.{name}.{32 hex digits}.part`."""
    return f".{name}.{uuid.uuid4().hex}.part"


def is_draft_name(name: str) -> bool:
    """Whether `make_draft_name` made this name."""
    return _DRAFT_NAME.fullmatch(name) is not None


def _rename_exclusively(draft: Path, path: Path) -> None:
    """Rename without overwriting a file that was created meanwhile: linking fails if the name exists."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links (FAT, some network drives): create the file exclusively, then replace it.
        path.touch(exist_ok=False)
        os.replace(draft, path)


def _exists_error(path: Path) -> JobError:
    return JobError(f"{path} exists already; choose another name, or replace it with --force (in Python force=True).")
