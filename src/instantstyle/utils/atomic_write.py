"""Files that are there whole or not at all, and never in place of another unless that is asked for."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import JobError

_DRAFT = re.compile(r"\..+\.[0-9a-f]{32}\.part")


def check_writable(path: Path, *, force: bool = False) -> None:
    """`JobError` unless a file can be written there; asked before the work, so that none is wasted."""
    if path.is_dir():
        raise JobError(f"{path} is a folder; name a file in it, such as {path / f'out{path.suffix}'}.")
    if path.exists() and not force:
        raise _taken(path)
    if not path.parent.is_dir():
        raise JobError(f"{path.parent} is not a folder; make it first, or write elsewhere.")
    if not os.access(path.parent, os.W_OK):
        raise JobError(f"{path.parent} cannot be written to; write elsewhere.")


@contextmanager
def atomic_write(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A draft to be written in the `with` block; afterwards it is `path`, or after a fault nothing is."""
    # In the same folder, because a rename is atomic only within one file system.
    draft = path.with_name(draft_of(path.name))
    try:
        yield draft
        _to_disk(draft)
        os.replace(draft, path) if force else _place(draft, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as fault:
        raise JobError(f"{path} could not be written: {fault.strerror or fault}.") from None
    finally:
        draft.unlink(missing_ok=True)


def clear_drafts(folder: Path) -> None:
    """What a process that was killed had half written; only where none is writing now."""
    for path in folder.glob(".*.part"):
        if is_draft(path.name):
            path.unlink(missing_ok=True)


def draft_of(name: str) -> str:
    """What a file is called until it is whole; never twice the same."""
    return f".{name}.{uuid.uuid4().hex}.part"


def is_draft(name: str) -> bool:
    return _DRAFT.fullmatch(name) is not None


def _to_disk(draft: Path) -> None:
    """Before the rename: after a power cut the name would else be there, and nothing in it."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())


def _place(draft: Path, path: Path) -> None:
    """Rename without overwriting, even a file made a moment ago: a link fails where the name exists."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (FAT, some network drives): claim the name first, then fill it.
        path.touch(exist_ok=False)
        os.replace(draft, path)


def _taken(path: Path) -> JobError:
    return JobError(f"{path} exists already; choose another name or overwrite it with --force.")
