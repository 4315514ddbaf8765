"""Chunks of a PNG file: those that hold pixels are left to Pillow, the others are read here and bounded.

Pillow refuses a whole image for one chunk that does not matter to its pixels (a long compressed text, a wrong
checksum), and does not see texts after the pixels until these are decoded.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_TEXT_BYTES = 4 * 2**20
"""Largest text that is read, in bytes after decompression; a recipe has a few thousand."""

MAX_TEXTS_BYTES = 4 * MAX_TEXT_BYTES
"""Largest sum of the texts of a file; texts beyond that are left out."""

MAX_PROFILE_BYTES = 16 * 2**20
"""Largest ICC profile, after decompression: profiles of printing presses have 3 MB."""

TOO_LONG_KEY = "instantstyle:too_long"
"""Key of `Image.info` with the keys of the texts that were left out because of their length."""

ByteFile = io.BufferedReader | io.BytesIO
"""An open file, or the bytes of one."""

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


def split_png(file: ByteFile) -> PngContent:
    """Separate the pixels of a PNG file from everything else.

    Args:
        file: The file, at any position. It stays in use by the result.

    Returns:
        The parts. Chunks that are damaged, too long or not needed are left out of `info`.
    """
    spans = [(0, len(SIGNATURE))]
    reader = _InfoReader(file)
    bit_depth = 0
    for chunk in list_chunks(file):
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
    return PngContent(io.BufferedReader(_Spans(file, spans)), reader.info, bit_depth)


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


def list_chunks(file: ByteFile) -> Iterator[Chunk]:
    """List the chunks up to IEND, or as far as the file is a sequence of chunks."""
    start = len(SIGNATURE)
    while True:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield Chunk(kind, start, length)
        if kind == b"IEND":
            return
        start += length + 12


class _InfoReader:
    """Reads chunks beside the pixels into a dictionary."""

    def __init__(self, file: ByteFile) -> None:
        self.info: dict[str, Any] = {}
        self._file = file
        self._budget = MAX_TEXTS_BYTES

    def read(self, chunk: Chunk) -> None:
        if chunk.kind in (b"tEXt", b"zTXt", b"iTXt"):
            self._read_text(chunk)
        elif chunk.kind == b"iCCP" and (data := self._data(chunk, MAX_PROFILE_BYTES)) is not None:
            compressed = data.partition(b"\0")[2]
            profile = _decompress(compressed[1:], MAX_PROFILE_BYTES) if compressed[:1] == b"\0" else None
            if profile:
                self.info["icc_profile"] = profile
        elif chunk.kind == b"eXIf" and (data := self._data(chunk, MAX_TEXT_BYTES)) is not None:
            self.info["exif"] = b"Exif\0\0" + data

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
        text = _decompress(rest, limit) if compressed else rest
        if text is None or len(text) > limit:
            self._mark_too_long(key)
            return
        self._budget -= len(text)
        name = key.decode("latin-1")
        try:
            self.info[name] = text.decode(encoding)
        except UnicodeDecodeError:
            return
        if name == "XML:com.adobe.xmp":
            self.info["xmp"] = text

    def _mark_too_long(self, key: bytes) -> None:
        self.info[TOO_LONG_KEY] = self.info.get(TOO_LONG_KEY, frozenset()) | {key.decode("latin-1")}

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


def _decompress(data: bytes, limit: int) -> bytes | None:
    """Decompress at most `limit` bytes: None if there are more, nothing for damaged data."""
    try:
        result = zlib.decompressobj().decompress(data, limit + 1)
    except zlib.error:
        return b""
    return None if len(result) > limit else result


class _Spans(io.RawIOBase):
    """Some spans of a file, read as if they were a file without gaps."""

    def __init__(self, file: ByteFile, spans: list[tuple[int, int]]) -> None:
        self._file, self._spans = file, spans
        self._starts = [0]
        for begin, end in spans:
            self._starts.append(self._starts[-1] + end - begin)
        self._position = self._span = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position, self._span = max(0, base + offset), 0
        return self._position

    def readinto(self, buffer: Any) -> int:
        while self._span < len(self._spans) and self._starts[self._span + 1] <= self._position:
            self._span += 1
        if self._span == len(self._spans):
            return 0
        begin, end = self._spans[self._span]
        place = begin + self._position - self._starts[self._span]
        self._file.seek(place)
        data = self._file.read(min(len(buffer), end - place))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
