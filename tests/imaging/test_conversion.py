"""Images of any mode and depth become upright 8-bit RGB; odd metadata refuse no image."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from instantstyle.imaging import conversion
from instantstyle.imaging.conversion import to_rgb
from instantstyle.imaging.loading import open_mask, open_reference

from .png_files import png

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8))
ORIENTATION = 0x0112
SHORT, LONG, ASCII, RATIONAL, BYTE, FLOAT = 3, 4, 2, 5, 1, 11


@pytest.fixture(params=[1, 5, 15, 2**20])
def strip_pixels(request, monkeypatch) -> int:
    monkeypatch.setattr(conversion, "STRIP_PIXELS", request.param)
    return request.param


def rows(image: Image.Image) -> list[Any]:
    return np.asarray(image).tolist()


Tag = tuple[int, int, int, bytes]


def tiff(*tags: Tag, pixels: bytes = b"") -> bytes:
    """Write a TIFF: tag, type, count, and the value or, where it is longer than four bytes, its data."""
    table, data, offset = b"", b"", 8 + 2 + 12 * len(tags) + 4 + len(pixels)
    for tag, kind, count, value in sorted(tags):
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", offset + len(data))
        table += struct.pack("<HHI", tag, kind, count) + place
        data += value if len(value) > 4 else b""
    start = 8 + len(pixels)
    return b"II*\0" + struct.pack("<I", start) + pixels + struct.pack("<H", len(tags)) + table + b"\0" * 4 + data


def exif_block(*tags: Tag) -> bytes:
    return b"Exif\0\0" + tiff(*tags)


def teal_tiff(*tags: Tag) -> bytes:
    """Write an uncompressed TIFF of 64 × 32 px."""
    values = {256: 64, 257: 32, 259: 1, 262: 2, 273: 8, 277: 3, 278: 32, 279: 64 * 32 * 3}
    fields = [(tag, LONG, 1, struct.pack("<I", value)) for tag, value in values.items()]
    bits = (258, SHORT, 3, struct.pack("<3H", 8, 8, 8))
    return tiff(*fields, bits, *tags, pixels=bytes((0, 128, 128)) * (64 * 32))


def photo(exif: bytes, format: str = "JPEG") -> Image.Image:
    """Load an image of 64 × 32 px with these EXIF data; it is upright as 32 × 64 px for orientation 6."""
    file = BytesIO()
    Image.new("RGB", (64, 32), "teal").save(file, format, exif=exif)
    return open_reference(file.getvalue())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_equals_pillows_own_transposition(orientation, strip_pixels):
    image = NOISE.copy()
    image.getexif()[ORIENTATION] = orientation
    assert rows(to_rgb(image)) == rows(ImageOps.exif_transpose(image))


def test_no_strip_is_lost_for_any_mode(strip_pixels):
    for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "I", "F"):
        grey = mode in ("1", "L", "LA", "I", "F")
        image = NOISE.convert("RGBA" if mode == "RGBa" else "L" if grey else "RGB").convert(mode)
        expected = image.convert("RGBA").convert("RGB") if mode == "RGBa" else image.convert("RGB")
        assert rows(to_rgb(image)) == rows(expected), mode


RIGHT = struct.pack("<H", 6)
NAN = struct.pack("<II", 0, 0)
ODD_TAGS = {
    "a resolution of 0/0": (0x011A, RATIONAL, 1, NAN),
    "a resolution as text": (0x011A, ASCII, 4, b"72\0\0"),
    "a resolution as a float that is no number": (0x011A, FLOAT, 1, struct.pack("<f", float("nan"))),
    "a resolution of four values": (0x011A, SHORT, 4, struct.pack("<4H", 1, 2, 3, 4)),
    "an unknown type": (0x011A, 77, 1, b"abcd"),
    "a place outside of the file": (0x8769, LONG, 1, b"\xff\xff\xff\x7f"),
    "a camera's name that is not ASCII": (0x010F, ASCII, 4, b"\xff\xfe\xfd\0"),
    "a comment of 30,000 bytes": (0x9286, 7, 30_000, b"x" * 30_000),
    "a negative count": (0x0110, ASCII, 2**32 - 1, b"abcd"),
}


@pytest.mark.parametrize("tag", ODD_TAGS)
def test_an_odd_exif_value_refuses_no_photo(tag):
    """And leaves it upright."""
    tags = (ORIENTATION, SHORT, 1, RIGHT), ODD_TAGS[tag]
    for format in ("JPEG", "PNG", "WEBP"):
        assert photo(exif_block(*tags), format).size == (32, 64), format
    if tag == "a negative count":
        # In a TIFF the tags say where the pixels are; Pillow finds none after the one that is cut short.
        return
    upright = open_reference(teal_tiff(*tags))
    assert (upright.size, upright.getpixel((0, 0))) == ((32, 64), (0, 128, 128))


@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [(LONG, 1, struct.pack("<I", 6)), (BYTE, 1, b"\6"), (RATIONAL, 1, struct.pack("<II", 6, 1))],
)
def test_an_orientation_of_another_numeric_type_is_applied(kind, count, value):
    assert photo(exif_block((ORIENTATION, kind, count, value))).size == (32, 64)


@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [
        (SHORT, 1, struct.pack("<H", 77)),
        (ASCII, 2, b"6\0"),
        (RATIONAL, 1, NAN),
        (FLOAT, 1, struct.pack("<f", float("nan"))),
        (7, 4, b"abcd"),
    ],
)
def test_an_orientation_that_is_none_is_ignored(kind, count, value):
    assert photo(exif_block((ORIENTATION, kind, count, value))).size == (64, 32)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0nonsense" * 9, b"x" * 60_000])
def test_exif_data_that_cannot_be_parsed_refuse_no_photo(exif):
    assert photo(exif).size == (64, 32)


def test_sixteen_bit_grey_keeps_its_transparency(strip_pixels):
    data = png(2, 2, 16, 0, [struct.pack(">2H", 30000, 30001)] * 2, (b"tRNS", struct.pack(">H", 30000)))
    assert rows(open_reference(data)) == [[[255] * 3, [117] * 3]] * 2
    assert rows(open_mask(data)) == [[0, 117]] * 2


@pytest.mark.parametrize(("depth", "row"), [(1, b"\x40"), (2, b"\x10"), (4, b"\x01\x00"), (8, b"\0\1\0\0")])
def test_grey_of_every_depth_keeps_its_transparency(depth, row):
    """The second pixel has the value 1, which is transparent; Pillow scales the pixels, but not this value."""
    image = open_reference(png(4, 1, depth, 0, [row], (b"tRNS", struct.pack(">H", 1))))
    assert rows(image)[0][:3] == [[0] * 3, [255] * 3, [0] * 3]


@pytest.mark.parametrize(("depth", "code"), [(8, "B"), (16, "H")])
def test_rgb_of_every_depth_keeps_its_transparency(depth, code):
    unit = 1 if depth == 8 else 256
    row = struct.pack(f">6{code}", *(level * unit for level in (9, 8, 7, 200, 100, 50)))
    key = struct.pack(">3H", 9 * unit, 8 * unit, 7 * unit)
    data = png(2, 1, depth, 2, [row], (b"tRNS", key))
    assert rows(open_reference(data)) == [[[255, 255, 255], [200, 100, 50]]]
    assert rows(open_mask(data))[0][0] == 0


def test_deep_rgb_is_scaled_to_8_bits():
    row = struct.pack(">3H", 65535, 32768, 0)
    assert rows(open_reference(png(1, 1, 16, 2, [row]))) == [[[255, 128, 0]]]


def test_deep_values_that_are_no_numbers_are_black_and_infinity_is_white(strip_pixels):
    values = np.array([[0, 1, 0.5], [np.nan, np.inf, -np.inf]], dtype=np.float32)
    assert np.asarray(to_rgb(Image.fromarray(values)))[..., 0].tolist() == [[0, 255, 128], [0, 255, 0]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGBa", "La", "PA"])
def test_what_is_transparent_is_white_in_an_image_and_black_in_a_mask(mode, tmp_path: Path):
    """White on transparent and black on transparent: the colour below the transparency does not matter."""
    for hidden in (0, 255):
        visible = 255 - hidden
        image = Image.new("RGBA", (4, 1), (hidden,) * 3 + (0,))
        image.paste((visible,) * 3 + (255,), (2, 0, 4, 1))
        # Through LA, as Pillow converts RGBA to La by no other way.
        image = image.convert("LA").convert(mode) if mode == "La" else image.convert(mode)
        assert rows(to_rgb(image)) == [[[255] * 3] * 2 + [[visible] * 3] * 2]
        assert rows(open_mask(image)) == [[0, 0, visible, visible]]
        if mode in ("RGBA", "LA", "P"):
            image.save(tmp_path / "a.png")
            assert rows(open_mask(tmp_path / "a.png")) == [[0, 0, visible, visible]]


def test_half_transparent_white_is_half_a_mask():
    assert open_mask(Image.new("RGBA", (1, 1), (255, 255, 255, 128))).getpixel((0, 0)) == 128
