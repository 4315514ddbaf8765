"""JPEG files that no encoder writes."""

from io import BytesIO

from PIL import Image

SCAN = b"\xff\xda"


def save_jpeg(size: tuple[int, int], **settings: object) -> bytes:
    """Write an image of one colour."""
    file = BytesIO()
    Image.new("RGB", size, (90, 30, 60)).save(file, "JPEG", **settings)
    return file.getvalue()


def repeat_last_scan(data: bytes, times: int, padding: bytes = b"") -> bytes:
    """Repeat the last scan of a JPEG, each time with some bytes before it; libjpeg decodes each of them."""
    scan = data[data.rindex(SCAN) : -2]
    return data[:-2] + (padding + scan) * times + data[-2:]
