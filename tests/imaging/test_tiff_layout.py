"""Samples of a TIFF are scaled by their depth and type, or the layout is refused by its name."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from instantstyle import ImageError
from instantstyle.imaging.loading import open_reference

MIN_IS_WHITE, MIN_IS_BLACK = 0, 1
UNSIGNED, SIGNED, FLOAT = 1, 2, 3


def tiff(
    pixels: bytes,
    bits: int,
    photometric: int = MIN_IS_BLACK,
    kind: int = UNSIGNED,
    order: str = "<",
    width: int = 2,
    **tags: int,
) -> bytes:
    """Write a grey TIFF of one row without compression."""
    values = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 1, 279: len(pixels)}
    values |= {339: kind} | {int(tag.removeprefix("tag")): value for tag, value in tags.items()}
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(pixels)) + pixels
    data += struct.pack(f"{order}H", len(values))
    for tag, value in sorted(values.items()):
        data += struct.pack(f"{order}HHII", tag, 4, 1, value)
    return data + bytes(4)


def shades(data: bytes) -> list[int]:
    return np.asarray(open_reference(data))[0, :, 0].tolist()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("bits", "code", "values", "expected"),
    [
        (8, "B", (0, 255), [0, 255]),
        (16, "H", (0, 65535), [0, 255]),
        (16, "H", (257, 32768), [1, 128]),
        (32, "I", (0, 255), [0, 255]),
        (32, "I", (0, 65535), [0, 255]),
        (32, "I", (0, 2**32 - 1), [0, 255]),
        (32, "I", (10**9, 3 * 10**9), [59, 178]),
    ],
)
def test_unsigned_values_are_scaled_by_their_depth(bits, code, values, expected, order):
    pixels = struct.pack(f"{order}2{code}", *values)
    if order == ">" and bits == 32:
        with pytest.raises(ImageError, match="of a kind that is not decoded"):
            shades(tiff(pixels, bits, order=order))
        return
    assert shades(tiff(pixels, bits, order=order)) == expected
    # Pillow opens no big-endian 16-bit TIFF whose zeros are white.
    if bits == 8 or (bits == 16 and order == "<"):
        inverted = [255 - shade for shade in expected]
        assert shades(tiff(pixels, bits, MIN_IS_WHITE, order=order)) == inverted


@pytest.mark.parametrize(("bits", "pixels"), [(1, b"\x40"), (4, b"\x0f"), (12, b"\0\x0f\xff"), (8, b"\0\xff")])
def test_zeros_are_white_or_black_as_the_file_says(bits, pixels):
    assert shades(tiff(pixels, bits)) == [0, 255]
    if bits != 12:
        assert shades(tiff(pixels, bits, MIN_IS_WHITE)) == [255, 0]


def test_twelve_bits_are_scaled_to_eight():
    # 0x001 is black, 0x800 is half, 0x7ff is just below it.
    assert shades(tiff(b"\x00\x18\x00\x7f\xf0\x00", 12, width=3)) == [0, 128, 127]


def test_signed_and_float_values_keep_their_scale():
    assert shades(tiff(struct.pack("<2h", -1000, 32767), 16, kind=SIGNED)) == [0, 255]
    assert shades(tiff(struct.pack("<2i", -5, 2**31 - 1), 32, kind=SIGNED)) == [0, 255]
    assert shades(tiff(struct.pack("<2f", 0.0, 1.0), 32, kind=FLOAT)) == [0, 255]


@pytest.mark.parametrize(
    ("data", "layout"),
    [
        (tiff(b"\x80\x7f", 8, kind=SIGNED), "8-bit signed integers"),
        (tiff(bytes(16), 64, kind=FLOAT), None),
        (tiff(b"\0\xff", 8, MIN_IS_WHITE, tag284=2), "8-bit unsigned integers in separate planes"),
    ],
)
def test_a_layout_that_pillow_decodes_wrongly_is_refused_by_name(data, layout):
    with pytest.raises(ImageError, match=f"is a TIFF of {layout}" if layout else "save it") as caught:
        open_reference(data)
    assert "\n" not in str(caught.value)


def test_ycbcr_without_compression_is_refused():
    file = BytesIO()
    Image.new("YCbCr", (8, 8)).save(file, "TIFF")
    with pytest.raises(ImageError, match="of YCbCr without compression"):
        open_reference(file.getvalue())


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "tiff_lzw"])
@pytest.mark.parametrize("mode", ["I;16", "L", "RGB", "RGBA", "CMYK", "1"])
def test_what_pillow_writes_is_read_alike_with_and_without_compression(mode, compression):
    noise = np.random.default_rng(1).integers(0, 256, (9, 7), dtype=np.uint8)
    image = Image.fromarray(noise.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(noise).convert(mode)
    file = BytesIO()
    image.save(file, "TIFF", compression=compression)
    read = np.asarray(open_reference(file.getvalue()))[..., 0]
    expected = np.asarray(image.convert("L")) if mode == "1" else noise
    assert np.array_equal(read, expected)
