"""Images of every usual kind are decoded, and files that are not images are rejected."""

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from instantstyle import ImageError
from instantstyle.imaging import decoding
from instantstyle.imaging.decoding import FORMATS
from instantstyle.imaging.loading import file_sha256, fit, open_reference


def colour(image: Image.Image, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    pixel = image.getpixel(at)
    assert isinstance(pixel, tuple)
    return pixel


@pytest.fixture
def save(tmp_path: Path):
    def write(image: Image.Image, name: str, **options) -> Path:
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.tiff", "a.bmp"])
def test_every_supported_format_opens_as_rgb(save, name):
    image = open_reference(save(Image.new("RGB", (8, 6), (200, 40, 40)), name))
    assert image.mode == "RGB"
    assert image.size == (8, 6)
    assert colour(image) == pytest.approx((200, 40, 40), abs=8)


def test_an_exif_rotation_is_applied(save):
    source = Image.new("RGB", (8, 4), "white")
    source.putpixel((0, 0), (0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated clockwise by 90 degrees
    upright = open_reference(save(source, "turned.png", exif=exif))
    assert upright.size == (4, 8)
    assert colour(upright, (3, 0)) == (0, 0, 0)


def test_alpha_is_composited_on_white(save):
    assert colour(open_reference(save(Image.new("RGBA", (2, 2), (255, 0, 0, 0)), "a.png"))) == (255, 255, 255)
    assert colour(open_reference(save(Image.new("RGBA", (2, 2), (0, 0, 0, 51)), "b.png"))) == (204, 204, 204)


def test_grey_with_alpha_is_composited_on_white(save):
    assert colour(open_reference(save(Image.new("LA", (2, 2), (0, 0)), "a.png"))) == (255, 255, 255)


def test_a_transparent_palette_entry_is_white(save):
    source = Image.new("P", (2, 1))
    source.putpalette([255, 0, 0, 0, 0, 255])
    source.putpixel((1, 0), 1)
    image = open_reference(save(source, "a.png", transparency=0))
    assert [colour(image), colour(image, (1, 0))] == [(255, 255, 255), (0, 0, 255)]


def test_grey_and_one_bit_images_open(save):
    assert colour(open_reference(save(Image.new("L", (2, 2), 70), "grey.png"))) == (70, 70, 70)
    assert colour(open_reference(save(Image.new("1", (2, 2), 1), "bit.png"))) == (255, 255, 255)


def test_cmyk_opens_in_its_colours(save):
    red, green, blue = colour(open_reference(save(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "a.jpg")))
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bit_values_are_scaled_instead_of_clipped(save, name):
    ramp = Image.fromarray(np.array([[0, 257 * 64, 257 * 128, 65535]], dtype=np.uint16))
    image = open_reference(save(ramp, name))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 64, 128, 255]


def test_a_dark_sixteen_bit_image_stays_dark(save):
    assert colour(open_reference(save(Image.fromarray(np.full((1, 1), 200, dtype=np.uint16)), "a.png")))[0] == 1


@pytest.mark.parametrize(("values", "shade"), [([[0.0, 1.0]], 255), ([[0.0, 255.0]], 255), ([[0.0, 9e4]], 255)])
def test_float_values_are_scaled_by_the_range_they_use(save, values, shade):
    image = open_reference(save(Image.fromarray(np.array(values, dtype=np.float32)), "a.tiff"))
    assert colour(image, (1, 0))[0] == shade


def test_the_first_frame_of_an_animation_is_used(save):
    frames = [Image.new("RGB", (4, 4), word) for word in ("red", "blue")]
    path = save(frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert colour(open_reference(path)) == (255, 0, 0)


def test_an_image_in_memory_is_not_changed():
    original = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert colour(open_reference(original)) == (255, 255, 255)
    assert original.mode == "RGBA"


def test_an_image_of_one_pixel_opens(save):
    assert open_reference(save(Image.new("RGB", (1, 1)), "a.png")).size == (1, 1)


def bomb(path: Path, width: int, height: int) -> Path:
    """Write a PNG that is only a header."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + b"\0" * 64)
    return path


def cut(path: Path, name: str) -> Path:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    image.save(path / name)
    whole = (path / name).read_bytes()
    (path / name).write_bytes(whole[: len(whole) // 2])
    return path / name


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


INVALID_FILES = {
    "missing": (lambda folder: folder / "nowhere.png", "does not exist"),
    "a folder": (lambda folder: folder, "is a folder"),
    "empty": (lambda folder: written(folder / "empty.png", b""), "empty"),
    "text": (lambda folder: written(folder / "text.png", b"hello" * 99), "not an image"),
    "half a PNG": (lambda folder: cut(folder, "half.png"), "damaged"),
    "half a JPEG": (lambda folder: cut(folder, "half.jpg"), "damaged"),
    "half a WebP": (lambda folder: cut(folder, "half.webp"), "damaged|not an image"),
    "half a GIF": (lambda folder: cut(folder, "half.gif"), "damaged"),
    "a bomb": (lambda folder: bomb(folder / "bomb.png", 60_000, 60_000), "128 megapixels"),
    "a small bomb": (lambda folder: bomb(folder / "bomb.png", 12_000, 12_000), "12000×12000.*128 megapixels"),
}


@pytest.mark.parametrize("kind", INVALID_FILES)
def test_an_invalid_file_is_an_error_of_one_line(tmp_path, kind):
    make, reason = INVALID_FILES[kind]
    with pytest.raises(ImageError, match=reason) as error:
        open_reference(make(tmp_path))
    assert "\n" not in str(error.value)


@given(st.binary(min_size=1, max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
def test_a_damaged_file_is_decoded_or_raises_an_image_error(tmp_path_factory, noise, format):
    path = tmp_path_factory.mktemp("noise") / "a"
    Image.new("RGB", (9, 9), "teal").save(path, format=format)
    data = path.read_bytes()
    offset = len(noise) % len(data)
    path.write_bytes(data[:offset] + noise + data[offset + len(noise) :])
    with suppress(ImageError):
        assert open_reference(path).mode == "RGB"


sides = st.integers(1, 300)


@given(sides, sides, st.sampled_from(["center", "pad", "squash"]))
def test_any_crop_of_any_size_is_square(width, height, crop):
    assert fit(Image.new("RGB", (width, height)), 32, crop).size == (32, 32)


@pytest.mark.parametrize("crop", ["center", "pad", "squash"])
def test_a_strip_needs_no_more_memory_than_a_square(crop):
    assert fit(Image.new("RGB", (1, 100_000)), 224, crop).size == (224, 224)


@pytest.mark.parametrize("size", [(100, 300), (517, 333), (64, 64), (31, 30), (1000, 999)])
def test_a_centre_crop_equals_clips_preprocessing(size):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    noise = np.random.default_rng(0).integers(0, 255, (*reversed(size), 3), dtype=np.uint8)
    expected = CLIPImageProcessorPil(do_rescale=False, do_normalize=False)(Image.fromarray(noise))
    fitted = np.asarray(fit(Image.fromarray(noise), 224, "center"))
    assert np.array_equal(expected["pixel_values"][0].transpose(1, 2, 0), fitted)


def test_padding_and_squashing_keep_the_whole_image():
    wide = Image.new("RGB", (40, 20), "black")
    padded = fit(wide, 20, "pad")
    assert colour(padded, (0, 0)) == (255, 255, 255)
    assert colour(padded, (0, 10)) == colour(padded, (19, 10)) == (0, 0, 0)
    assert np.asarray(fit(wide, 20, "squash")).max() == 0


def test_the_error_for_an_unknown_crop_lists_the_known_ones():
    with pytest.raises(ImageError, match=r"center, pad or squash.*Did you mean center"):
        fit(Image.new("RGB", (2, 2)), 2, "centre")


def test_the_hash_of_a_file_is_the_sha256_of_its_bytes(tmp_path):
    assert file_sha256(written(tmp_path / "a", b"abc")).startswith("ba7816bf8f01cfea")


def test_the_error_for_heic_says_how_to_convert_it(tmp_path):
    path = written(tmp_path / "photo.heic", b"\0\0\0\x18ftypheic" + b"\0" * 99)
    with pytest.raises(ImageError, match=r"photo\.heic is a HEIC image.*convert it to JPEG.*sips.*magick"):
        open_reference(path)


@pytest.mark.skipif("AVIF" not in FORMATS, reason="Pillow is built without AVIF")
def test_avif_opens_in_its_colours(save):
    image = open_reference(save(Image.new("RGB", (16, 16), (200, 40, 40)), "a.avif", quality=100))
    assert colour(image) == pytest.approx((200, 40, 40), abs=8)


def test_a_deep_image_is_bounded_in_bytes_and_not_called_damaged(save, monkeypatch):
    path = save(Image.fromarray(np.zeros((20, 10), dtype=np.float32)), "a.tiff")
    monkeypatch.setattr(decoding, "MAX_BYTES", 799)
    with pytest.raises(ImageError, match=r"10×20 pixels of 4 bytes; at most"):
        open_reference(path)
    monkeypatch.setattr(decoding, "MAX_BYTES", 800)
    assert open_reference(path).size == (10, 20)
