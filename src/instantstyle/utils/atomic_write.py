"""Atomic writing of files: a file is either complete or absent, and is overwritten only on request."""

import os
import re
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import JobError
from .text import cut, shorten

MAX_NAME_BYTES = 255
"""Largest length of a file name on Linux, macOS and Windows."""

_DRAFT_NAME = re.compile(r"\..+\.[0-9a-f]{32}\.part")


def check_writable(path: Path, *, force: bool = False) -> None:
    """Check that a file can be written, before the work whose result it will hold.

    Args:
        path: The file.
        force: Whether it may be overwritten.

    Raises:
        JobError: `path` is a folder or exists already, or its folder cannot be made or written to.
    """
    # os.path: the methods of `Path` raise `OSError` for names that file systems refuse.
    if os.path.isdir(path):
        raise JobError(f"{path} is a folder; name a file in it, such as {path / f'out{path.suffix}'}.")
    if os.path.exists(path) and not force:
        raise _exists_error(path)
    folder = _nearest_existing(path.parent)
    if not os.path.isdir(folder):
        raise JobError(f"{cut(str(folder), 300)} is not a folder; write elsewhere.")
    if long := next((part for part in path.parts if len(os.fsencode(part)) > MAX_NAME_BYTES), None):
        raise JobError(f"The file name {shorten(long)} has more than {MAX_NAME_BYTES} bytes; use a shorter one.")
    if not os.access(folder, os.W_OK):
        raise JobError(f"{cut(str(folder), 300)} cannot be written to; write elsewhere.")


@contextmanager
def atomic_write(path: Path, *, force: bool = False) -> Generator[Path]:
    """Write a file atomically; its folder is made if necessary.

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
        draft.parent.mkdir(parents=True, exist_ok=True)
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
        # An error here would replace the one of the block; `remove_drafts` deletes drafts that stay.
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def remove_drafts(folder: Path) -> None:
    """Delete the drafts of killed processes. No process may be writing into the folder."""
    for path in folder.glob(".*.part"):
        if is_draft_name(path.name):
            path.unlink(missing_ok=True)


def make_draft_name(name: str) -> str:
    """Make a unique hidden name for an incomplete file: `.{name}.{32 hex digits}.part`; a long name is cut."""
    end = f".{uuid.uuid4().hex}.part"
    start = os.fsencode(name)[: MAX_NAME_BYTES - len(end) - 1].decode(errors="ignore")
    return f".{start}{end}"


def is_draft_name(name: str) -> bool:
    """Whether `make_draft_name` made this name."""
    return _DRAFT_NAME.fullmatch(name) is not None


def _nearest_existing(folder: Path) -> Path:
    """Return the folder itself, or the nearest parent that exists: missing folders are made when a file is written."""
    return next((place for place in (folder, *folder.parents) if os.path.lexists(place)), folder)


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
