"""What tells whether a file was changed since it was read, without reading it."""

from pathlib import Path

Stamp = tuple[int, int]
"""Time of the last change of a file in ns, and its size in bytes."""


def file_stamp(path: Path) -> Stamp:
    """Return the stamp of a file, for caches of what was read from it; raises `OSError` where there is none."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size
