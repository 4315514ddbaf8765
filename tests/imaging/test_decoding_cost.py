"""Decoding takes time in proportion to the size of a file and its pixels; what would take longer is refused."""

import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from instantstyle import ImageError, StyleError
from instantstyle.imaging.jpeg_scans import MAX_EXIF_SEGMENTS
from instantstyle.imaging.loading import open_mask, open_reference
from instantstyle.imaging.png_chunks import MAX_CHUNKS, MAX_TEXTS_BYTES, Spans, split_png
from instantstyle.imaging.thumbnail import decode_thumbnail

from .jpeg_files import repeat_last_scan, save_jpeg
from .png_files import RGB, SIGNATURE, chunk, png

TEAL = bytes((0, 128, 128))


@contextmanager
def takes_less_than(seconds: float) -> Iterator[None]:
    begin = time.process_time()
    yield
    assert time.process_time() - begin < seconds


def interleaved(count: int) -> bytes:
    """Write a PNG with empty chunks of pixels and other chunks in turn before its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, RGB, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + TEAL * 4) * 4))
    return SIGNATURE + header + (chunk(b"IDAT", b"") + chunk(b"abCd", b"")) * count + pixels + chunk(b"IEND", b"")


def test_a_png_of_many_chunks_opens_in_linear_time():
    with takes_less_than(5):
        assert open_reference(interleaved(20_000)).getpixel((3, 3)) == (0, 128, 128)


def test_a_png_of_too_many_chunks_is_refused():
    with takes_less_than(5), pytest.raises(ImageError, match=f"is a PNG of more than {MAX_CHUNKS:,} chunks"):
        open_reference(interleaved(MAX_CHUNKS))


def test_spans_are_read_from_any_position():
    spans = Spans(BytesIO(b"0123456789"), [(0, 2), (5, 6), (8, 10)])
    expected = b"01589"
    for position in range(7):
        assert spans.seek(position) == position
        assert spans.read() == expected[position:]
    assert spans.seek(-2, 2) == 3
    assert spans.read(1) == b"8"
    assert spans.tell() == 4


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_repeated_compressed_chunks_have_one_budget(kind):
    between = b"\0\1\0\0\0" if kind == b"iTXt" else b"\0\0"
    data = b"a" + between + zlib.compress(bytes(16 * 2**20 if kind == b"iCCP" else 4 * 2**20 + 5), 9)
    file = png(4, 4, 8, RGB, [TEAL * 4] * 4, *[(kind, data)] * 150)
    with takes_less_than(1.5):
        assert open_reference(file).getpixel((0, 0)) == (0, 128, 128)


def test_texts_that_are_left_out_use_up_the_budget():
    long = b"long\0\0" + zlib.compress(bytes(4 * 2**20 + 5), 9)
    times = MAX_TEXTS_BYTES // (4 * 2**20)
    few, many = (
        split_png(BytesIO(png(4, 4, 8, RGB, [TEAL * 4] * 4, *[(b"zTXt", long)] * count, (b"tEXt", b"key\0text"))))
        for count in (times - 1, times)
    )
    assert few.info["key"] == "text"
    assert "key" not in many.info


def test_scans_times_pixels_of_a_jpeg_are_bounded():
    data = save_jpeg((8000, 4000), progressive=True, quality=30)
    with takes_less_than(1), pytest.raises(ImageError, match=r"more than 2 billion samples in \d\d scans"):
        open_reference(repeat_last_scan(data, 89))
    small = save_jpeg((800, 400), progressive=True)
    assert open_reference(repeat_last_scan(small, 89)).size == (800, 400)


def test_the_exif_segments_of_a_jpeg_are_bounded():
    data = save_jpeg((16, 16))
    segment = b"\xff\xe1" + struct.pack(">H", 2 + 60_000) + b"Exif\0\0".ljust(60_000, b"\0")
    assert open_reference(data[:2] + segment * 3 + data[2:]).size == (16, 16)
    with pytest.raises(ImageError, match=f"more than {MAX_EXIF_SEGMENTS} segments of EXIF data"):
        open_reference(data[:2] + segment * (MAX_EXIF_SEGMENTS + 1) + data[2:])


def directory(count: int, num_bytes: int, tag: int | None = None) -> bytes:
    """Write a TIFF whose entries all name the same bytes."""
    table = b"".join(
        struct.pack("<HHII", 40_000 + n if tag is None else tag, 7, num_bytes, 14 + 12 * count) for n in range(count)
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", count) + table + bytes(4) + bytes(num_bytes)


@pytest.mark.parametrize("tag", [None, 40_000])
def test_entries_of_a_directory_that_name_the_same_bytes_are_refused(tag):
    with takes_less_than(1):
        with pytest.raises(ImageError, match=r"The directory of .* has entries of [\d,]+ bytes in [\d,]+"):
            open_reference(directory(2000, 1_000_000, tag))
        with pytest.raises(ImageError, match="has more than 4,096 entries"):
            open_reference(directory(20_000, 8, tag))
    exif = b"Exif\0\0" + directory(2000, 30_000, tag)
    with pytest.raises(ImageError, match=r"The EXIF data of .* has entries of"):
        open_reference(save_jpeg((16, 16), exif=exif))
    with pytest.raises(StyleError, match=r"The EXIF data of A style's thumbnail has entries of"):
        decode_thumbnail(save_jpeg((16, 16), exif=exif))


def test_strips_of_a_tiff_that_overlap_are_refused():
    file = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(file, "TIFF", compression="tiff_adobe_deflate")
    assert np.array_equal(np.asarray(open_reference(file.getvalue()))[..., 0], noise)
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[TiffImagePlugin.ROWSPERSTRIP] = 1
    file = BytesIO()
    Image.fromarray(noise).save(file, "TIFF", tiffinfo=info, compression="tiff_adobe_deflate")
    data = bytearray(file.getvalue())
    with Image.open(BytesIO(bytes(data))) as image:
        sizes = image.tag_v2[TiffImagePlugin.STRIPBYTECOUNTS]
    assert len(sizes) == 64
    code = "H" if (place := data.find(struct.pack("<64H", *sizes))) >= 0 else "I"
    place = place if code == "H" else data.index(struct.pack("<64I", *sizes))
    size = struct.calcsize(f"<64{code}")
    data[place : place + size] = struct.pack(f"<64{code}", *[len(data)] * 64)
    with pytest.raises(ImageError, match="is a TIFF whose strips overlap"):
        open_reference(bytes(data))


def test_a_compressed_bmp_is_bounded_in_pixels():
    def compressed(width: int, height: int) -> bytes:
        header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 256, 0)
        return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 1024) + header + bytes(1024) + b"\4\0\0\1"

    assert open_reference(compressed(4, 1)).size == (4, 1)
    with takes_less_than(1), pytest.raises(ImageError, match="is a compressed BMP of 10000×10000 pixels; at most 16 "):
        open_reference(compressed(10_000, 10_000))


def test_the_comments_of_a_gif_are_bounded():
    file = BytesIO()
    Image.new("RGB", (4, 4), (0, 128, 128)).save(file, "GIF")
    data = file.getvalue()
    start = data.index(b",", 13 + 3 * 2)
    comment = b"!\xfe" + (b"\xff" + b"x" * 255) * 100 + b"\0"
    assert open_reference(data[:start] + comment + data[start:]).getpixel((0, 0)) == (0, 128, 128)
    with takes_less_than(1), pytest.raises(ImageError, match="more than 2,000 blocks of comments"):
        open_reference(data[:start] + comment * 400 + data[start:])


def test_a_palette_image_without_a_palette_is_damaged():
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 3, 0, 0, 0))
    data = SIGNATURE + header + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    for read in (open_reference, open_mask):
        with pytest.raises(ImageError, match="is damaged or cut short"):
            read(data)


@pytest.mark.parametrize("error", [RuntimeError, AssertionError, AttributeError, NotImplementedError, KeyError])
def test_whatever_a_decoder_raises_is_an_image_error_of_one_line(error, monkeypatch):
    def load(self: Image.Image) -> None:
        raise error("Failed to\ndecode")

    for data in (save_jpeg((16, 16)), png(4, 4, 8, RGB, [TEAL * 4] * 4)):
        with monkeypatch.context() as patch:
            patch.setattr("PIL.ImageFile.ImageFile.load", load)
            with pytest.raises(ImageError, match="is damaged or cut short") as caught:
                open_reference(data)
            assert "\n" not in str(caught.value)
    with monkeypatch.context() as patch:
        patch.setattr("PIL.ImageFile.ImageFile.load", load)
        with pytest.raises(StyleError, match="not a complete JPEG"):
            decode_thumbnail(save_jpeg((16, 16)))
