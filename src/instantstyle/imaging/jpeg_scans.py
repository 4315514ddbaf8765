"""Bound on the scans of a JPEG: decoding takes time for each scan and pixel, and a scan needs no more than ten bytes.

The file format allows any number of scans, so that applications have to limit it: "Two Issues with the JPEG Standard",
libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf.
"""

import re

from ..errors import ImageError
from .png_chunks import ByteFile

SIGNATURE = b"\xff\xd8\xff"

MAX_SCANS = 100
"""Largest number of scans, as in libtiff. Encoders write about ten: libjpeg 10 in colour and 24 in CMYK. A scan takes
1 ms for each megapixel, so that an image of 32 megapixels takes 3 s and one of 128 takes 13 s with this number."""

MAX_SEGMENTS = 10_000
"""Largest number of segments. One has up to 65 kB; profiles, EXIF and XMP of cameras have a few hundred together."""

# A byte 0xFF of the compressed data is followed by 0; restart markers (0xD0 to 0xD7) belong to the data.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])", re.DOTALL)

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9

_WITHOUT_LENGTH = (0x01, 0xD8)
"""Markers without a segment: TEM, and SOI."""

_BLOCK_BYTES = 2**14


def check_scans(file: ByteFile, name: str) -> None:
    """Check the number of scans of a JPEG without decoding it.

    Args:
        file: The file, at any position, which is changed.
        name: Name of the image in error messages.

    Raises:
        ImageError: It has more than `MAX_SCANS` scans, or more than `MAX_SEGMENTS` segments.
    """
    start = len(SIGNATURE) - 1
    segments = scans = 0
    while (found := _find_marker(file, start)) is not None:
        marker, start = found
        if marker == _END_OF_IMAGE:
            return
        segments, scans = segments + 1, scans + (marker == _START_OF_SCAN)
        if scans > MAX_SCANS or segments > MAX_SEGMENTS:
            limit = f"{MAX_SCANS} scans" if scans > MAX_SCANS else f"{MAX_SEGMENTS} segments"
            raise ImageError(f"{name} is a JPEG of more than {limit}, which would take long to decode; save it again.")
        if marker not in _WITHOUT_LENGTH:
            file.seek(start)
            # The length counts its own two bytes; libjpeg skips these also where it is smaller.
            start += max(2, int.from_bytes(file.read(2), "big"))


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
