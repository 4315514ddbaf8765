"""PNG files for tests, written chunk by chunk."""

import struct
import zlib
from collections.abc import Sequence

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2


def chunk(kind: bytes, data: bytes) -> bytes:
    """Write a chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    depth: int,
    color: int,
    rows: Sequence[bytes],
    *chunks: tuple[bytes, bytes],
    after: bytes = b"",
) -> bytes:
    """Write a PNG.

    Args:
        width: Width in px.
        height: Height in px.
        depth: Bits of a sample.
        color: PNG colour type, `GREY` or `RGB`.
        rows: Samples of each row.
        chunks: Kind and data of chunks before the pixels.
        after: Chunks between the pixels and the end.
    """
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    before = b"".join(chunk(kind, data) for kind, data in chunks)
    return SIGNATURE + header + before + pixels + after + chunk(b"IEND", b"")
