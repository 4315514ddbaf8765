"""Bounds on what decoding a file costs, which are checked before Pillow opens it.

Each format lets a small file ask for much work. What is accepted takes time and memory proportional to the bytes of
the file and to its pixels, which are bounded elsewhere.
"""

import io
import re
from collections.abc import Callable, Mapping

from ..errors import ImageError
from .jpeg_scans import SIGNATURE as JPEG_SIGNATURE
from .jpeg_scans import check_scans
from .png_chunks import ByteFile
from .tiff_directory import BIG, CLASSIC, Directory, find_fault, read_directory
from .tiff_layout import MAX_STRIPS, STRIP_OFFSETS, TILE_OFFSETS

MAX_GIF_BLOCKS = 100_000
"""Largest number of blocks of a GIF before its first frame."""

MAX_GIF_COMMENT_BLOCKS = 2000
"""Largest number of blocks of comments, which Pillow copies again for each: up to 0.5 MB of text."""

MAX_RLE_PIXELS = 16_000_000
"""Largest number of pixels of a BMP with run-length encoding, which Pillow decodes in Python: about 1.5 s."""

MAX_RLE_WIDTH = 65_535
"""Largest width of such a BMP: two bytes of the file can skip 255 rows."""

_TIFF_START = re.compile(b"|".join(map(re.escape, CLASSIC)))

_MAX_TIFF_STARTS = 100
"""Largest number of places in an AVIF that look like EXIF data."""


def check_cost(file: ByteFile, head: bytes, name: str) -> None:
    """Refuse files that would take long to decode, or much memory, for their size and number of pixels.

    Args:
        file: The file, at any position, which is changed.
        head: The first 32 bytes of the file.
        name: Name of the image in error messages.

    Raises:
        ImageError: The message says what is too much.
    """
    for start, check in _CHECKS.items():
        if head.startswith(start):
            check(file, head, name)
    if head[4:8] == b"ftyp":
        _check_avif(file, head, name)


def file_size(file: ByteFile) -> int:
    """Return the number of bytes of an open file, whose position is changed."""
    return file.seek(0, io.SEEK_END)


def _check_jpeg(file: ByteFile, head: bytes, name: str) -> None:
    exif = check_scans(file, name)
    _check_directory(io.BytesIO(exif), len(exif), 0, f"The EXIF data of {name}")


def _check_tiff(file: ByteFile, head: bytes, name: str) -> None:
    directory = _check_directory(file, file_size(file), 0, f"The directory of {name}")
    strips = max(directory.counts.get(tag, 0) for tag in (STRIP_OFFSETS, TILE_OFFSETS)) if directory else 0
    if strips > MAX_STRIPS:
        raise _cost_error(name, f"has {strips:,} strips; at most {MAX_STRIPS:,} are decoded")


def _check_avif(file: ByteFile, head: bytes, name: str) -> None:
    """Check everything that can be EXIF data, which Pillow reads when it opens the file."""
    size = file_size(file)
    file.seek(0)
    for count, match in enumerate(_TIFF_START.finditer(file.read())):
        if count == _MAX_TIFF_STARTS:
            raise _cost_error(name, "has too many blocks of EXIF data")
        _check_directory(file, size, match.start(), f"The EXIF data of {name}")


def _check_directory(file: ByteFile, size: int, start: int, subject: str) -> Directory | None:
    directory = read_directory(file, size, start)
    if directory is not None and (fault := find_fault(directory, size)):
        raise _cost_error(subject, fault)
    return directory


def _check_bmp(file: ByteFile, head: bytes, name: str) -> None:
    # Of the header of OS/2, which has 12 bytes and no compression, nothing is read.
    if int.from_bytes(head[14:18], "little") < 40 or head[30:32] not in (b"\1\0", b"\2\0"):
        return
    width, height = (abs(int.from_bytes(head[at : at + 4], "little", signed=True)) for at in (18, 22))
    if width * height > MAX_RLE_PIXELS or width > MAX_RLE_WIDTH:
        limits = f"at most {MAX_RLE_PIXELS // 10**6} megapixels and {MAX_RLE_WIDTH:,} columns are decoded"
        raise _cost_error(name, f"is a compressed BMP of {width}×{height} pixels; {limits}")


def _check_gif(file: ByteFile, head: bytes, name: str) -> None:
    """Count the blocks before the first frame, as Pillow walks through them."""
    file.seek(13 + (3 << (head[10] & 7) + 1 if len(head) > 10 and head[10] & 128 else 0))
    blocks = comments = 0
    while (kind := file.read(1)) not in (b"", b",", b";"):
        is_comment = kind == b"!" and file.read(1) == b"\xfe"
        # A byte that begins no block is skipped.
        has_length = kind == b"!"
        while True:
            blocks, comments = blocks + 1, comments + is_comment
            if blocks > MAX_GIF_BLOCKS or comments > MAX_GIF_COMMENT_BLOCKS:
                limit = (
                    f"{MAX_GIF_COMMENT_BLOCKS:,} blocks of comments" if is_comment else f"{MAX_GIF_BLOCKS:,} blocks"
                )
                raise _cost_error(name, f"is a GIF of more than {limit} before its first frame")
            size = file.read(1) if has_length else b""
            if not size or not size[0]:
                break
            file.seek(size[0], io.SEEK_CUR)


def _cost_error(subject: str, fault: str) -> ImageError:
    return ImageError(f"{subject} {fault}, which would take long to decode; save the image again.")


_CHECKS: Mapping[bytes, Callable[[ByteFile, bytes, str], None]] = {
    JPEG_SIGNATURE: _check_jpeg,
    **dict.fromkeys((*CLASSIC, *BIG), _check_tiff),
    b"BM": _check_bmp,
    b"GIF8": _check_gif,
}
"""Checks by the first bytes of a file."""
