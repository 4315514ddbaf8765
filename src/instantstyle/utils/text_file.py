"""Text files and JSON that users name: read within bounds of size and nesting, with errors in one line."""

import json
import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ..errors import JobError
from .text import cut, one_line, shorten

MAX_BYTES = 64_000_000
"""Largest text file that is read: about 500,000 rows of a batch."""

MAX_NESTING = 32
"""Largest depth of lists and mappings in a document. A recipe has three levels."""

MAX_VALUES = 500_000
"""Largest number of values in a document; they take about 100 MB."""

TOO_DEEP = f"it is nested deeper than {MAX_NESTING} levels"
TOO_MANY = f"it has more than {MAX_VALUES:,} values"


def read_text_file(path: str | Path, purpose: str, max_bytes: int = MAX_BYTES) -> str:
    """Read a text file in UTF-8, with or without a byte order mark. Line ends stay as they are.

    Args:
        path: The file.
        purpose: What it is to be, for the error message: "a manifest".
        max_bytes: Largest size of the file. It is checked before the file is read, because a sparse file of any
            size takes no space on a disk.

    Raises:
        JobError: The file does not exist, is not a regular file, is larger than `max_bytes`, cannot be read, or
            is not UTF-8.
    """
    name = cut(str(path), 300)
    try:
        # Before it is opened: opening a named pipe waits for a writer.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise JobError(f"{name} is not a regular file and cannot be read as {purpose}.")
        data = b""
        if status.st_size <= max_bytes:
            with open(path, "rb") as file:
                # One more than allowed: files of /proc have size 0, and others grow.
                data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise JobError(f"{name} does not exist; searched in {cut(str(Path(path).absolute().parent), 300)}.") from None
    # ValueError: a name with a NUL character.
    except (OSError, ValueError) as error:
        raise JobError(f"{name} cannot be read as {purpose} ({_reason(error)}).") from None
    if status.st_size > max_bytes or len(data) > max_bytes:
        size = f"{max(status.st_size, len(data)) / 1e6:,.0f} MB"
        raise JobError(
            f"{name} has {size} and cannot be read as {purpose}; at most {max_bytes / 1e6:,.0f} MB are read."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError(f"{name} cannot be read as {purpose} ({one_line(error, 200)}); save it as UTF-8.") from None


def parse_json(text: str) -> object:
    """Parse JSON of limited depth and size.

    Args:
        text: A JSON document.

    Raises:
        ValueError: The text is not JSON, or has more than `MAX_NESTING` levels, more than `MAX_VALUES` values, a name
            twice in one object or a number with too many digits. The message is one short line.
    """
    if sum(map(text.count, ",[{")) >= MAX_VALUES:
        raise ValueError(TOO_MANY)
    try:
        value = json.loads(text, object_pairs_hook=_make_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({one_line(error, 200)})") from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except _RepeatedName:
        raise
    except ValueError:
        raise ValueError("it has a number with too many digits") from None
    if _is_deep(value):
        raise ValueError(TOO_DEEP)
    return value


class _RepeatedName(ValueError):
    """An object of a JSON document has a name twice."""


def _make_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make a dict of the members of an object; Python alone would keep the last of those with the same name."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _RepeatedName(describe_repeated(name for name, _ in pairs))
    return made


def describe_repeated(names: Iterable[object]) -> str:
    """Describe the first name that occurs twice among the names of one object."""
    name = next(name for name, count in Counter(names).items() if count > 1)
    return f"it has {shorten(name)} twice; keep one of them"


def _is_deep(value: object) -> bool:
    """Whether a tree of dicts and lists has more than `MAX_NESTING` levels."""
    level: list[object] = [value]
    for _ in range(MAX_NESTING + 1):
        children: list[object] = []
        for item in level:
            if isinstance(item, dict):
                children += item.values()  # pyright: ignore[reportUnknownArgumentType]
            elif isinstance(item, list):
                children += item  # pyright: ignore[reportUnknownArgumentType]
        if not children:
            return False
        level = children
    return True


def _reason(error: Exception) -> str:
    return one_line((error.strerror if isinstance(error, OSError) else None) or error, 200)
