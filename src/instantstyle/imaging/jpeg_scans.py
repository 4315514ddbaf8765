"""Bound on the scans of a JPEG: decoding takes time for each scan and pixel, and a scan needs no more than ten bytes.

The file format allows any number of scans, so that applications have to limit it: "Two Issues with the JPEG Standard",
libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf.
"""

import re
import struct

from ..errors import ImageError
from .png_chunks import ByteFile

SIGNATURE = b"\xff\xd8\xff"

MAX_SCANS = 100
"""Largest number of scans, as in libtiff. Encoders write about ten: libjpeg 10 in colour and 24 in CMYK. A scan takes
1 ms for each megapixel."""

MAX_SCAN_SAMPLES = 2_000_000_000
"""Largest sum of pixels × components over the scans of an image. libjpeg's ten scans in colour have 14 components in
all, 1.8 billion samples for 128 megapixels."""

MAX_EXIF_SEGMENTS = 100
"""Largest number of segments with EXIF data, which Pillow copies again for each one. Cameras write one."""

MAX_SEGMENTS = 10_000
"""Largest number of segments. One has up to 65 kB; profiles, EXIF and XMP of cameras have a few hundred together."""

# A byte 0xFF of the compressed data is followed by 0; restart markers (0xD0 to 0xD7) belong to the data.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])", re.DOTALL)

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9

_EXIF_SEGMENT, _EXIF_PREFIX = 0xE1, b"Exif\0\0"

_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of segments with the size of the image."""

_WITHOUT_LENGTH = (0x01, 0xD8)
"""Markers without a segment: TEM, and SOI."""

_BLOCK_BYTES = 2**14


def check_scans(file: ByteFile, name: str) -> bytes:
    """Check the scans of a JPEG without decoding it.

    Args:
        file: The file, at any position, which is changed.
        name: Name of the image in error messages.

    Returns:
        The EXIF data as Pillow joins them, without their prefix.

    Raises:
        ImageError: It has more than `MAX_SCANS` scans, more than `MAX_SCAN_SAMPLES` samples in them, more than
            `MAX_SEGMENTS` segments or more than `MAX_EXIF_SEGMENTS` with EXIF data.
    """
    start = len(SIGNATURE) - 1
    segments = scans = samples = pixels = 0
    exif: list[bytes] = []
    while (found := _find_marker(file, start)) is not None:
        marker, start = found
        if marker == _END_OF_IMAGE:
            break
        segments += 1
        if marker not in _WITHOUT_LENGTH:
            file.seek(start)
            # The length counts its own two bytes; libjpeg skips these also where it is smaller.
            length = max(2, int.from_bytes(file.read(2), "big"))
            start += length
            if marker in _FRAME_HEADERS:
                _, height, width = struct.unpack(">BHH", file.read(5).ljust(5, b"\0"))
                pixels = max(pixels, width * height)
            elif marker == _START_OF_SCAN:
                scans += 1
                samples += pixels * (file.read(1) or b"\0")[0]
            elif marker == _EXIF_SEGMENT and (data := file.read(length - 2)).startswith(_EXIF_PREFIX):
                exif.append(data[len(_EXIF_PREFIX) :])
        _check_counts(name, scans, samples, segments, len(exif))
    return b"".join(exif)


def _check_counts(name: str, scans: int, samples: int, segments: int, exif_segments: int) -> None:
    limits = {
        f"{MAX_SCANS} scans": scans > MAX_SCANS,
        f"{MAX_SCAN_SAMPLES / 1e9:g} billion samples in {scans} scans": samples > MAX_SCAN_SAMPLES,
        f"{MAX_SEGMENTS} segments": segments > MAX_SEGMENTS,
        f"{MAX_EXIF_SEGMENTS} segments of EXIF data": exif_segments > MAX_EXIF_SEGMENTS,
    }
    for limit, is_exceeded in limits.items():
        if is_exceeded:
            raise ImageError(f"{name} is a JPEG of more than {limit}, which would take long to decode; save it again.")


def _find_marker(file: ByteFile, start: int) -> tuple[int, int] | None:
    """Find the next marker as libjpeg does: bytes that belong to none are skipped.

    Returns:
        The second byte of the marker, and the offset after it; None if there is no marker.
    """
    file.seek(start)
    data = b""
    while block := file.read(_BLOCK_BYTES):
        # The last byte of the previous block can begin a marker.
        data = data[-1:] + block
        if match := _MARKER.search(data):
            return match[1][0], start + match.end()
        start += len(data) - 1
    return None
