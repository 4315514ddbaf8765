"""Chunks of a PNG file: those that hold pixels are left to Pillow, the others are read here and bounded.

Pillow refuses a whole image for one chunk that does not matter to its pixels (a long compressed text, a wrong
checksum), and does not see texts after the pixels until these are decoded.
"""

import io
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..errors import ImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_TEXT_BYTES = 4 * 2**20
"""Largest text that is read, in bytes after decompression; a recipe has a few thousand."""

MAX_TEXTS_BYTES = 4 * MAX_TEXT_BYTES
"""Largest sum of the texts of a file, including what is decompressed of texts that are left out; texts beyond that
are left out."""

MAX_CHUNKS = 100_000
"""Largest number of chunks of a file: libpng writes pixels in chunks of 8 kB, of which an image of 128 megapixels has
47,000. Each chunk takes about 20 µs."""

MAX_PROFILE_BYTES = 16 * 2**20
"""Largest ICC profile, after decompression: profiles of printing presses have 3 MB."""

TOO_LONG_KEY = "instantstyle:too_long"
"""Key of `Image.info` with the keys of the texts that were left out because of their length."""

ByteFile = io.BufferedReader | io.BytesIO
"""An open file, or the bytes of one."""

_BLOCK_BYTES = 2**16
"""Number of bytes that are decompressed at once."""

_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")

_GREY_STEPS = {1: 255, 2: 85, 4: 17}
"""By bits per pixel, the factor by which Pillow scales grey to 8 bits."""


class Chunk(NamedTuple):
    kind: bytes
    start: int
    """Offset of the chunk in the file."""
    length: int
    """Number of bytes of its data."""


class PngContent(NamedTuple):
    """A PNG file without the chunks that do not hold pixels, and what these say."""

    pixels: ByteFile
    info: dict[str, Any]
    """Texts, `icc_profile`, `exif` and `xmp` as in `Image.info`."""
    bit_depth: int
    """Bits of a sample: 1, 2, 4, 8 or 16; 0 without a complete header."""


def split_png(file: ByteFile, name: str = "The image") -> PngContent:
    """Separate the pixels of a PNG file from everything else.

    Args:
        file: The file, at any position. It stays in use by the result.
        name: Name of the image in error messages.

    Returns:
        The parts. Chunks that are damaged, too long or not needed are left out of `info`.

    Raises:
        ImageError: The file has more than `MAX_CHUNKS` chunks.
    """
    spans = [(0, len(SIGNATURE))]
    reader = _InfoReader(file)
    bit_depth = 0
    for chunk in list_chunks(file, name):
        if chunk.kind == b"IHDR" and not bit_depth:
            file.seek(chunk.start + 16)
            bit_depth = (file.read(1) or b"\0")[0]
        if chunk.kind in _PIXEL_CHUNKS:
            end = chunk.start + chunk.length + 12
            if spans[-1][1] == chunk.start:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((chunk.start, end))
        else:
            reader.read(chunk)
    return PngContent(io.BufferedReader(Spans(file, spans)), reader.finish(), bit_depth)


def scale_transparent_value(value: Any, mode: str, bit_depth: int) -> Any:
    """Convert the transparent grey or colour of a PNG to the depth to which Pillow decodes the pixels.

    Args:
        value: `Image.info["transparency"]`.
        mode: Mode of the image.
        bit_depth: Bits of a sample in the file.

    Returns:
        The value in the units of the decoded pixels. Of 16-bit RGB only the upper 8 bits are decoded.
    """
    if mode == "L" and isinstance(value, int):
        return value * _GREY_STEPS.get(bit_depth, 1)
    if mode == "RGB" and bit_depth == 16 and isinstance(value, tuple):
        return tuple(part >> 8 for part in value)
    return value


def list_chunks(file: ByteFile, name: str = "The image") -> Iterator[Chunk]:
    """List the chunks up to IEND, or as far as the file is a sequence of chunks.

    Args:
        file: The file, at any position, which is changed.
        name: Name of the image in error messages.

    Raises:
        ImageError: The file has more than `MAX_CHUNKS` chunks.
    """
    start = len(SIGNATURE)
    count = 0
    while True:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        count += 1
        if count > MAX_CHUNKS:
            raise ImageError(
                f"{name} is a PNG of more than {MAX_CHUNKS:,} chunks, which would take long to decode; save it again."
            )
        length, kind = struct.unpack(">I4s", head)
        yield Chunk(kind, start, length)
        if kind == b"IEND":
            return
        start += length + 12


class _InfoReader:
    """Reads chunks beside the pixels into a dictionary."""

    def __init__(self, file: ByteFile) -> None:
        self._info: dict[str, Any] = {}
        self._file = file
        self._budget = MAX_TEXTS_BYTES
        self._too_long: set[str] = set()
        self._has_profile = False

    def finish(self) -> dict[str, Any]:
        """Return what was read, with the keys of the texts that are too long."""
        return {**self._info, TOO_LONG_KEY: frozenset(self._too_long)} if self._too_long else self._info

    def read(self, chunk: Chunk) -> None:
        if chunk.kind in (b"tEXt", b"zTXt", b"iTXt"):
            self._read_text(chunk)
        # A file has one profile; decompressing each of many would take long.
        elif chunk.kind == b"iCCP" and not self._has_profile:
            if (data := self._data(chunk, MAX_PROFILE_BYTES)) is not None:
                self._has_profile = True
                self._read_profile(data)
        elif chunk.kind == b"eXIf" and (data := self._data(chunk, MAX_TEXT_BYTES)) is not None:
            self._info["exif"] = b"Exif\0\0" + data

    def _read_profile(self, data: bytes) -> None:
        compressed = data.partition(b"\0")[2]
        if compressed[:1] == b"\0":
            profile, _ = _decompress(compressed[1:], MAX_PROFILE_BYTES)
            if profile:
                self._info["icc_profile"] = profile

    def _read_text(self, chunk: Chunk) -> None:
        limit = min(MAX_TEXT_BYTES, self._budget)
        data = self._data(chunk, limit + 1024)
        if data is None:
            # A damaged text is ignored; the key of a long one is kept for the error message.
            if chunk.length > limit + 1024:
                self._file.seek(chunk.start + 8)
                self._mark_too_long(self._file.read(80).partition(b"\0")[0])
            return
        key, _, rest = data.partition(b"\0")
        encoding, compressed = "latin-1", chunk.kind == b"zTXt"
        if compressed:
            method, rest = rest[:1], rest[1:]
        elif chunk.kind == b"iTXt":
            compressed, method, encoding = rest[:1] == b"\1", rest[1:2], "utf-8"
            rest = rest[2:].split(b"\0", 2)[-1]
        else:
            method = b"\0"
        if method != b"\0":
            return
        text, cost = _decompress(rest, limit) if compressed else (rest, len(rest))
        self._budget = max(0, self._budget - cost)
        if text is None or len(text) > limit:
            self._mark_too_long(key)
            return
        name = key.decode("latin-1")
        try:
            self._info[name] = text.decode(encoding)
        except UnicodeDecodeError:
            return
        if name == "XML:com.adobe.xmp":
            self._info["xmp"] = text

    def _mark_too_long(self, key: bytes) -> None:
        self._too_long.add(key.decode("latin-1"))

    def _data(self, chunk: Chunk, limit: int) -> bytes | None:
        """Read the data of a chunk; None if it is longer than the limit, cut short or has a wrong checksum."""
        if chunk.length > limit:
            return None
        self._file.seek(chunk.start + 8)
        data = self._file.read(chunk.length)
        checksum = self._file.read(4)
        if len(data) < chunk.length or checksum != struct.pack(">I", zlib.crc32(data, zlib.crc32(chunk.kind))):
            return None
        return data


def _decompress(data: bytes, limit: int) -> tuple[bytes | None, int]:
    """Decompress at most `limit` bytes.

    Returns:
        The result: None if there are more bytes, nothing for damaged data. And the number of bytes that were
        decompressed, also before the damage.
    """
    decompressor, blocks, cost = zlib.decompressobj(), list[bytes](), 0
    while data and not decompressor.eof and cost <= limit:
        try:
            block = decompressor.decompress(data, min(_BLOCK_BYTES, limit + 1 - cost))
        except zlib.error:
            # Of the block in which the damage is, nothing is returned.
            return b"", cost + _BLOCK_BYTES
        blocks.append(block)
        cost, data = cost + len(block), decompressor.unconsumed_tail
    return None if cost > limit else b"".join(blocks), cost


class Spans(io.RawIOBase):
    """Some spans of a file, read as if they were a file without gaps.

    Args:
        file: The file.
        spans: Begin and end of each span that is not empty, in any order.
    """

    def __init__(self, file: ByteFile, spans: list[tuple[int, int]]) -> None:
        self._file, self._spans = file, spans
        self._starts = [0]
        for begin, end in spans:
            self._starts.append(self._starts[-1] + end - begin)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        # Pillow asks for the position again and again, so that the span is found without reading all of them.
        span = bisect_right(self._starts, self._position) - 1
        if span == len(self._spans):
            return 0
        begin, end = self._spans[span]
        place = begin + self._position - self._starts[span]
        self._file.seek(place)
        data = self._file.read(min(len(buffer), end - place))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
