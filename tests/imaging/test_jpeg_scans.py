"""JPEGs of very many scans are refused before they are decoded; all others open as before."""

import re
import time
from io import BytesIO

import pytest
from PIL import Image

from instantstyle import ImageError, StyleError
from instantstyle.imaging.image_file import save_image
from instantstyle.imaging.jpeg_scans import MAX_SCANS, MAX_SEGMENTS
from instantstyle.imaging.loading import open_reference
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.imaging.thumbnail import decode_thumbnail
from instantstyle.recipe import Recipe

from .jpeg_files import repeat_last_scan, save_jpeg

SCANS_OF_LIBJPEG = 10
"""Scans of a progressive image in colour as libjpeg writes it."""


def test_a_jpeg_of_very_many_scans_is_refused_without_decoding_it(tmp_path):
    data = repeat_last_scan(save_jpeg((4000, 4000), progressive=True), 20_000)
    assert len(data) < 800_000
    (tmp_path / "bomb.jpg").write_bytes(data)
    for source in (tmp_path / "bomb.jpg", data):
        begin = time.process_time()
        with pytest.raises(ImageError, match=rf"is a JPEG of more than {MAX_SCANS} scans") as caught:
            open_reference(source)
        # Decoding takes 1 ms for each scan and megapixel: 320 s.
        assert time.process_time() - begin < 1
        assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match="scans"):
        read_recipe(tmp_path / "bomb.jpg")


def test_the_limit_is_inclusive():
    data = save_jpeg((16, 16), progressive=True)
    assert open_reference(repeat_last_scan(data, MAX_SCANS - SCANS_OF_LIBJPEG)).size == (16, 16)
    with pytest.raises(ImageError, match="scans"):
        open_reference(repeat_last_scan(data, MAX_SCANS - SCANS_OF_LIBJPEG + 1))


@pytest.mark.parametrize(
    "padding", [b"\xff" * 7, b"garbage", b"\xff\xd0", b"\xff\x01", b"\xff\xfe\0\2", b"\xff\xfe\0\0"]
)
def test_bytes_between_segments_do_not_hide_scans(padding):
    data = repeat_last_scan(save_jpeg((16, 16), progressive=True), MAX_SCANS, padding)
    with pytest.raises(ImageError, match="scans"):
        open_reference(data)
    few = repeat_last_scan(save_jpeg((16, 16), progressive=True), 5, padding)
    assert open_reference(few).size == (16, 16)


def test_bytes_of_metadata_that_look_like_scans_do_not_count(tmp_path):
    image = Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 20).convert("RGB")
    many = b"\xff\xda" * 30_000
    image.save(tmp_path / "app.jpg", exif=b"Exif\0\0" + many)
    image.save(tmp_path / "comment.jpg", comment=many)
    for name in ("app", "comment"):
        assert open_reference(tmp_path / f"{name}.jpg").size == (64, 48)
    # Cameras append videos, larger previews and depth maps.
    (tmp_path / "motion.jpg").write_bytes((tmp_path / "app.jpg").read_bytes() + many)
    assert open_reference(tmp_path / "motion.jpg").size == (64, 48)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [True, False])
def test_images_of_usual_encoders_are_far_below_the_limit(mode, progressive):
    noise = Image.effect_noise((320, 240), 90).convert(mode)
    file = BytesIO()
    noise.save(file, "JPEG", quality=100, progressive=progressive, restart_marker_rows=1)
    scans = len(re.findall(rb"\xff\xda\x00", file.getvalue()))
    assert scans <= MAX_SCANS / 4
    with Image.open(file) as image:
        assert open_reference(file.getvalue()).size == image.size


def test_a_jpeg_of_very_many_segments_is_refused():
    data = save_jpeg((16, 16))
    comments = b"\xff\xfe\0\2" * 1_000_000
    begin = time.process_time()
    with pytest.raises(ImageError, match=f"more than {MAX_SEGMENTS} segments"):
        open_reference(data[:2] + b"\xff\xe0\0\2" + comments + data[2:])
    assert time.process_time() - begin < 1


def test_a_recipe_in_a_jpeg_is_still_read(tmp_path):
    recipe = Recipe(prompt="a rocket", seed=7)
    path = save_image(Image.new("RGB", (32, 32)), tmp_path / "a.jpg", recipe)
    assert read_recipe(path) == recipe


def test_a_thumbnail_of_very_many_scans_is_refused():
    with pytest.raises(StyleError, match=r"A style's thumbnail is a JPEG of more than .* scans"):
        decode_thumbnail(repeat_last_scan(save_jpeg((64, 64), progressive=True), 50_000))
