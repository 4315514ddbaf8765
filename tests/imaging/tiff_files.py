"""TIFF files for tests, in layouts that Pillow does not write."""

import struct
import zlib
from collections.abc import Sequence

SHORT, LONG = 3, 4
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
MIN_IS_WHITE, MIN_IS_BLACK, RGB, LAB = 0, 1, 2, 8
RAW, DEFLATE = 1, 8
TOGETHER, SEPARATE = 1, 2


def write_tiff(
    size: tuple[int, int],
    bits: Sequence[int],
    photometric: int,
    strips: Sequence[bytes],
    *,
    kind: int = UNSIGNED,
    order: str = "<",
    compression: int = RAW,
    planar: int = TOGETHER,
    extra: int | None = None,
    rows: int | None = None,
) -> bytes:
    """Write a TIFF.

    Args:
        size: Width and height in px.
        bits: Bits of each sample of a pixel.
        photometric: Meaning of the samples.
        strips: Samples of each strip, in the byte order of the file.
        kind: Sample format.
        order: `<` for little endian, `>` for big endian.
        compression: `RAW` or `DEFLATE`.
        planar: Whether samples are together or in planes, each of its own strips.
        extra: Meaning of the last sample, if it is an extra one.
        rows: Rows of a strip; None for those of the image.
    """
    stored = [zlib.compress(strip) if compression == DEFLATE else strip for strip in strips]
    offsets = [8 + sum(map(len, stored[:index])) for index in range(len(stored))]
    values: dict[int, tuple[int, Sequence[int]]] = {
        256: (LONG, [size[0]]),
        257: (LONG, [size[1]]),
        258: (SHORT, bits),
        259: (SHORT, [compression]),
        262: (SHORT, [photometric]),
        273: (LONG, offsets),
        277: (SHORT, [len(bits)]),
        278: (LONG, [rows or size[1]]),
        279: (LONG, [len(strip) for strip in stored]),
        284: (SHORT, [planar]),
        339: (SHORT, [kind] * len(bits)),
    }
    if extra is not None:
        values[338] = (SHORT, [extra])
    return write_directory(values, b"".join(stored), order)


def write_directory(values: dict[int, tuple[int, Sequence[int]]], pixels: bytes = b"", order: str = "<") -> bytes:
    """Write a TIFF of these tags, each with its type and values, after the pixels at offset 8."""
    start, table, data = 8 + len(pixels), b"", b""
    after = start + 2 + 12 * len(values) + 4
    for tag, (kind, numbers) in sorted(values.items()):
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == SHORT else 'I'}", *numbers)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(f"{order}I", after + len(data))
        table += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + place
        data += packed if len(packed) > 4 else b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return head + pixels + struct.pack(f"{order}H", len(values)) + table + b"\0" * 4 + data


def overlapping_directory(entries: int, length: int) -> bytes:
    """Write a directory whose entries all have the same value of `length` bytes: tags of no meaning, as for EXIF."""
    start = 8 + 2 + 12 * entries + 4
    table = b"".join(struct.pack("<HHII", 40_000 + index % 20_000, 1, length, start) for index in range(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + table + b"\0" * 4 + bytes(length)
