"""The directories of TIFF files and EXIF data, as far as their cost has to be known before Pillow reads them.

Pillow reads the values of all entries at once, and entries may name the same bytes: 65,535 entries of 1 MB each fit
into a file of 2 MB.
"""

import struct
from io import BytesIO
from typing import NamedTuple

from .png_chunks import ByteFile

CLASSIC, BIG = (b"II*\0", b"MM\0*"), (b"II+\0", b"MM\0+")
"""First bytes of TIFF files, and of those with 64-bit offsets."""

MAX_ENTRIES = 4096
"""Largest number of entries of a directory. Cameras and editors write fewer than 100."""

_SHARED_BYTES = 2**16
"""Bytes that entries may have in common: small values are often shared."""

_UNIT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by type."""


class Directory(NamedTuple):
    """The first directory of a TIFF."""

    num_entries: int
    """Number of entries that Pillow reads, at most `MAX_ENTRIES + 1`."""
    counts: dict[int, int]
    """Number of values by tag."""
    num_bytes: int
    """Bytes of all values that Pillow reads: it stops at the first that the file does not hold."""


def read_directory(file: ByteFile, size: int, start: int = 0) -> Directory | None:
    """Read which tags the first directory has and how large they are, but not their values.

    Args:
        file: The file, at any position, which is changed.
        size: Number of bytes of the TIFF or of the EXIF data.
        start: Offset of the TIFF's first byte.

    Returns:
        The directory as far as the file reaches; None for another format. Only `MAX_ENTRIES + 1` entries are read.
    """
    file.seek(start)
    head = file.read(16)
    if not head.startswith((*CLASSIC, *BIG)):
        return None
    order, is_big = "<" if head[:1] == b"I" else ">", head[:4] in BIG
    number, entry = (f"{order}Q", f"{order}HHQQ") if is_big else (f"{order}H", f"{order}HHII")
    offset = _unpack(f"{order}Q", head[8:]) if is_big else _unpack(f"{order}I", head[4:8])
    # Positions beyond this are of no file.
    file.seek(start + min(offset, 2**62))
    count = _unpack(number, file.read(struct.calcsize(number)))
    data = file.read(struct.calcsize(entry) * min(count, MAX_ENTRIES + 1))
    counts: dict[int, int] = {}
    num_bytes = num_entries = 0
    for tag, kind, values, place in struct.iter_unpack(entry, data[: len(data) - len(data) % struct.calcsize(entry)]):
        length = values * _UNIT_BYTES.get(kind, 0)
        if length > (8 if is_big else 4) and place + length > size:
            break
        num_entries += 1
        counts[tag] = values
        num_bytes += length
    return Directory(num_entries, counts, num_bytes)


def find_fault(directory: Directory, size: int) -> str | None:
    """Find why reading the values of a directory would take long.

    Args:
        directory: The directory.
        size: As in `read_directory`.

    Returns:
        The predicate of a sentence whose subject is the directory; None for a usual one.
    """
    if directory.num_entries > MAX_ENTRIES:
        return f"has more than {MAX_ENTRIES:,} entries"
    if directory.num_bytes > size + _SHARED_BYTES:
        return f"has entries of {directory.num_bytes:,} bytes in {size:,}"
    return None


def is_safe_exif(exif: bytes) -> bool:
    """Whether Pillow can read EXIF data, without the prefix `Exif`, in time and memory proportional to their size."""
    directory = read_directory(BytesIO(exif), len(exif))
    return directory is None or find_fault(directory, len(exif)) is None


def _unpack(form: str, data: bytes) -> int:
    return struct.unpack(form, data)[0] if len(data) == struct.calcsize(form) else 0
