"""Every combination of depth, byte order, compression, inversion and planes is decoded to its shades, or refused."""

import struct

import pytest

from instantstyle import ImageError
from instantstyle.imaging.loading import open_reference

from .tiff_files import (
    DEFLATE,
    FLOAT,
    LAB,
    MIN_IS_BLACK,
    MIN_IS_WHITE,
    RAW,
    RGB,
    SEPARATE,
    SIGNED,
    TOGETHER,
    UNSIGNED,
    write_tiff,
)

GREYS = {
    "8-bit": (8, UNSIGNED, "B", (0, 128, 255)),
    "16-bit": (16, UNSIGNED, "H", (0, 32768, 65535)),
    "32-bit": (32, UNSIGNED, "I", (0, 2**31, 2**32 - 1)),
    "signed 8-bit": (8, SIGNED, "b", (0, 64, 127)),
    "signed 16-bit": (16, SIGNED, "h", (0, 16384, 32767)),
    "signed 32-bit": (32, SIGNED, "i", (0, 2**30, 2**31 - 1)),
    "float": (32, FLOAT, "f", (0, 0.5, 1)),
}
"""By name bits, sample format, code of `struct`, and the values of black, the middle grey and white."""

PACKED = {
    "12-bit": (12, "000800fff000", (0, 128, 255, 0)),
    "4-bit": (4, "07f0", (0, 119, 255, 0)),
    "2-bit": (2, "1b", (0, 85, 170, 255)),
    "1-bit": (1, "50", (0, 255, 0, 255)),
}
"""By name bits, a row of four samples in hexadecimal, and their shades."""


def shades(data: bytes) -> list[int] | None:
    """Return the red values of the first row; None for a file that is refused."""
    try:
        image = open_reference(data)
    except ImageError:
        return None
    return [image.crop((x, 0, x + 1, 1)).tobytes()[0] for x in range(image.width)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [MIN_IS_WHITE, MIN_IS_BLACK])
@pytest.mark.parametrize("compression", [RAW, DEFLATE])
@pytest.mark.parametrize("planar", [TOGETHER, SEPARATE])
def test_grey_of_every_depth_keeps_its_shades_or_is_refused(order, photometric, compression, planar):
    samples = {
        name: (bits, kind, struct.pack(f"{order}3{code}", *values), (0, 128, 255))
        for name, (bits, kind, code, values) in GREYS.items()
    }
    samples |= {name: (bits, UNSIGNED, bytes.fromhex(row), grey) for name, (bits, row, grey) in PACKED.items()}
    decoded: set[str] = set()
    for name, (bits, kind, row, grey) in samples.items():
        width = len(grey)
        found = shades(
            write_tiff(
                (width, 1), (bits,), photometric, [row], kind=kind, order=order, compression=compression, planar=planar
            )
        )
        if found is not None:
            decoded.add(name)
            expected = [255 - shade for shade in grey] if photometric == MIN_IS_WHITE else [*grey]
            assert found == pytest.approx(expected, abs=1), name
    if (order, photometric, planar) == ("<", MIN_IS_BLACK, TOGETHER):
        assert decoded == {*samples} - {"signed 8-bit"}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [RAW, DEFLATE])
@pytest.mark.parametrize("depth", [8, 16])
def test_colours_in_planes_are_those_colours_or_refused(order, compression, depth):
    planes = [bytes([value] * 2 * (depth // 8)) for value in (200, 60, 40)]
    data = write_tiff((2, 1), (depth,) * 3, RGB, planes, order=order, compression=compression, planar=SEPARATE)
    if (compression, depth) == (RAW, 16):
        with pytest.raises(ImageError, match="16-bit unsigned integers in separate planes"):
            open_reference(data)
    else:
        assert open_reference(data).getpixel((1, 0)) == (200, 60, 40)


def test_grey_with_alpha_and_lab_in_planes_are_refused_by_name():
    grey = write_tiff(
        (2, 1), (8, 8), MIN_IS_BLACK, [b"dd", b"\xff\xff"], compression=DEFLATE, planar=SEPARATE, extra=2
    )
    lab = write_tiff((2, 1), (8, 8, 8), LAB, [b"dd", b"\0\0", b"\0\0"], planar=SEPARATE)
    for data in (grey, lab):
        with pytest.raises(ImageError, match="8-bit unsigned integers in separate planes, which are not decoded"):
            open_reference(data)
