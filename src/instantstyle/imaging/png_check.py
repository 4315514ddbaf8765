"""Whether a PNG file is the complete image that was written, and the texts that it carries.

`write_png` stores a hash of the pixels beside the recipe. The checksums of chunks tell nothing of whole chunks that
are replaced by others.
"""

import struct
import zlib
from collections.abc import Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from PIL import Image

from ..errors import ImageError
from .decoding import decode_image
from .png_chunks import SIGNATURE, ByteFile, list_chunks, split_png

PIXELS_KEY = "instantstyle:pixels"
"""PNG text key of the hash of the pixels. Files of early versions have none."""

HEAD_BYTES = 64 * 2**10
"""Bytes at the beginning of a file that hold its texts, unless a prompt is very long."""

TAIL = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
"""The bytes with which every complete PNG ends."""

_HEADER = SIGNATURE + struct.pack(">I4s", 13, b"IHDR")

_BLOCK_BYTES = 2**20


def read_texts_if_complete(path: Path) -> Mapping[str, str] | None:
    """Read a whole PNG file, the checksums of all its chunks, and its pixels.

    Args:
        path: The file.

    Returns:
        The texts by PNG text key; None if the file is absent, cut short, damaged or not a PNG, or has other pixels
        than those that were written.
    """
    try:
        with path.open("rb") as file:
            if not _is_complete(file):
                return None
            texts = _texts(file)
        with decode_image(path, str(path)) as image:
            pixels = hash_pixels(image)
        return texts if texts.get(PIXELS_KEY, pixels) == pixels else None
    except (OSError, ImageError):
        return None


def hash_pixels(image: Image.Image) -> str:
    """Compute the SHA-256 of mode, size and pixels of an image, in hexadecimal; an image of a file is decoded."""
    digest = sha256(f"{image.mode} {image.width}x{image.height}\n".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def read_texts_of_ends(head: bytes, tail: bytes) -> Mapping[str, str] | None:
    """Read the texts of a PNG whose beginning and end are known, for stores where reading a whole file takes long.

    Args:
        head: The first bytes of the file. `has_all_texts` tells whether they are enough.
        tail: The last `len(TAIL)` bytes.

    Returns:
        The texts by PNG text key; None if the ends are not those of a PNG.
    """
    return _texts(BytesIO(head)) if head.startswith(_HEADER) and tail == TAIL else None


def has_all_texts(head: bytes) -> bool:
    """Whether the first bytes of a PNG reach its pixels, before which the texts are, or are not of a PNG at all."""
    reaches_pixels = any(chunk.kind == b"IDAT" for chunk in list_chunks(BytesIO(head)))
    return reaches_pixels or not head.startswith(_HEADER)


def _is_complete(file: ByteFile) -> bool:
    if file.read(len(_HEADER)) != _HEADER:
        return False
    kind, has_pixels = b"", False
    for kind, start, length in list_chunks(file):
        has_pixels |= kind == b"IDAT"
        # The checksum covers the kind of the chunk and its data.
        file.seek(start + 4)
        checksum, left = 0, length + 4
        while left and (block := file.read(min(left, _BLOCK_BYTES))):
            checksum, left = zlib.crc32(block, checksum), left - len(block)
        if left or file.read(4) != struct.pack(">I", checksum):
            return False
    return has_pixels and kind == b"IEND" and not file.read(1)


def _texts(file: ByteFile) -> Mapping[str, str]:
    return {key: text for key, text in split_png(file).info.items() if isinstance(text, str)}
