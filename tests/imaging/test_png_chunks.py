"""Chunks beside the pixels of a PNG are bounded, found wherever they are, and never a reason to refuse an image."""

import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from instantstyle import JobError
from instantstyle.imaging.loading import open_image, open_reference
from instantstyle.imaging.png_chunks import MAX_TEXT_BYTES, MAX_TEXTS_BYTES
from instantstyle.imaging.png_metadata import read_png_text, read_recipe
from instantstyle.recipe import Recipe

from .png_files import RGB, SIGNATURE, chunk, png

RECIPE = Recipe(prompt="a rocket, überall 火箭", seed=1)
TEAL_ROW = bytes((0, 128, 128)) * 4


def teal(*chunks: tuple[bytes, bytes], after: bytes = b"") -> bytes:
    return png(4, 4, 8, RGB, [TEAL_ROW] * 4, *chunks, after=after)


def compressed(kind: bytes, key: bytes, text: bytes) -> tuple[bytes, bytes]:
    """Build a zTXt, a compressed iTXt or an iCCP chunk."""
    between = b"\0\1\0\0\0" if kind == b"iTXt" else b"\0\0"
    return kind, key + between + zlib.compress(text, 9)


def is_teal(data: bytes) -> bool:
    image = open_reference(data)
    return image.size == (4, 4) and image.getpixel((0, 0)) == (0, 128, 128)


CHUNKS = {
    "a text of 5 MB": compressed(b"zTXt", b"Comment", b"x" * 5_000_000),
    "an international text of 5 MB": compressed(b"iTXt", b"Comment", b"x" * 5_000_000),
    "an uncompressed text of 5 MB": (b"tEXt", b"Comment\0" + b"x" * 5_000_000),
    "a bomb of 100 MB": compressed(b"zTXt", b"Comment", bytes(100_000_000)),
    "a profile of 100 MB": compressed(b"iCCP", b"profile", bytes(100_000_000)),
    "a text with an unknown compression": (b"zTXt", b"Comment\0\7xyz"),
    "a text that is not compressed as it says": (b"zTXt", b"Comment\0\0xyz"),
    "a profile with an unknown compression": (b"iCCP", b"profile\0\7xyz"),
    "a key that is not Latin": (b"iTXt", b"\xff\xfe\0\0\0\0\0\xff"),
    "a text without a key": (b"tEXt", b""),
    "half a density": (b"pHYs", b"\0\0"),
    "half chromaticities": (b"cHRM", b"\0\0\0"),
    "an empty gamma": (b"gAMA", b""),
    "an empty sRGB": (b"sRGB", b""),
    "an animation of no frames": (b"acTL", b"\0" * 8),
    "a frame that does not fit": (b"fcTL", struct.pack(">IIIIIHHBB", 0, 999, 999, 999, 999, 1, 1, 0, 0)),
    "an unknown chunk": (b"quUx", b"abc"),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_no_chunk_beside_the_pixels_refuses_an_image(name):
    assert is_teal(teal(CHUNKS[name]))
    assert is_teal(teal(after=chunk(*CHUNKS[name])))
    wrong_checksum = chunk(*CHUNKS[name])[:-4] + b"abcd"
    assert is_teal(teal(after=wrong_checksum))
    assert is_teal(teal().replace(b"\x00\x00\x00\x18IDAT", wrong_checksum + b"\x00\x00\x00\x18IDAT"))


def test_a_bomb_in_a_text_costs_no_more_memory_than_the_bound():
    bombs = [compressed(b"zTXt", b"Comment", bytes(100_000_000)) for _ in range(5)]
    data = teal(*bombs)
    tracemalloc.start()
    try:
        assert is_teal(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_TEXT_BYTES
    finally:
        tracemalloc.stop()


def test_many_texts_are_bounded_together():
    data = teal(*((b"tEXt", b"Comment %d\0" % number + b"x" * 1_000_000) for number in range(40)))
    tracemalloc.start()
    try:
        assert is_teal(data)
        assert tracemalloc.get_traced_memory()[1] < 2 * MAX_TEXTS_BYTES
    finally:
        tracemalloc.stop()


def recipe_chunk() -> bytes:
    return chunk(b"iTXt", b"instantstyle\0\0\0\0\0" + RECIPE.to_json().encode())


def test_a_recipe_after_the_pixels_is_found_without_decoding_them(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(teal(after=recipe_chunk()))
    assert read_recipe(path) == RECIPE
    with open_image(path) as image:
        assert image.info["instantstyle"] == RECIPE.to_json()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_a_compressed_text_is_read(kind, tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(
        teal(compressed(kind, b"parameters", "a cat é".encode("utf-8" if kind == b"iTXt" else "latin-1")))
    )
    assert read_png_text(path, "parameters") == "a cat é"


def test_the_texts_that_pillow_writes_are_read_as_it_reads_them(tmp_path: Path):
    info = PngInfo()
    info.add_text("a", "plain")
    info.add_text("b", "compressed " * 99, zip=True)
    info.add_itxt("c", "火箭", lang="en", tkey="word")
    info.add_itxt("d", "火箭 " * 99, zip=True)
    info.add_text("e", "é\nü")
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path, pnginfo=info)
    with Image.open(path) as image:
        expected = {key: str(image.info[key]) for key in "abcde"}
    assert {key: read_png_text(path, key) for key in "abcde"} == expected


def test_a_recipe_that_is_too_long_is_not_called_missing(tmp_path: Path):
    path = tmp_path / "a.png"
    for data in (
        teal((b"tEXt", b"instantstyle\0" + b"x" * (MAX_TEXT_BYTES + 5000))),
        teal(compressed(b"zTXt", b"instantstyle", b"x" * (MAX_TEXT_BYTES + 1))),
    ):
        path.write_bytes(data)
        with pytest.raises(JobError, match=r"a\.png: .*longer than 4 MB"):
            read_recipe(path)


def test_orientation_and_profile_are_found_after_the_pixels():
    exif = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + b"\0" * 4
    data = png(4, 2, 8, RGB, [TEAL_ROW] * 2, after=chunk(b"eXIf", exif))
    assert open_reference(data).size == (2, 4)


def test_the_first_frame_of_an_animated_png_is_its_still_image():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue", "lime")]
    for still in (True, False):
        file = BytesIO()
        frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], default_image=still)
        assert open_reference(file.getvalue()).getpixel((0, 0)) == (255, 0, 0)


def test_pixels_in_many_chunks_between_other_chunks_are_read():
    noise = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    whole = file.getvalue()
    start = whole.index(b"IDAT") - 4
    (length,) = struct.unpack(">I", whole[start : start + 4])
    pixels = whole[start + 8 : start + 8 + length]
    header = whole[len(SIGNATURE) : start]
    parts = b"".join(chunk(b"IDAT", pixels[offset : offset + 100]) for offset in range(0, length, 100))
    texts = chunk(b"tEXt", b"a\0b") * 3
    data = SIGNATURE + header + texts + parts + texts + chunk(b"IEND", b"") + b"trailing"
    assert np.array_equal(np.asarray(open_reference(data)), np.asarray(noise))
