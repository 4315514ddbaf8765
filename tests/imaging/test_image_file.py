"""Generated images are written as PNG, JPEG or WebP, and their recipe is read from each."""

import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from instantstyle import JobError
from instantstyle.imaging.a1111 import format_a1111
from instantstyle.imaging.image_file import MAX_JPEG_TEXT, recompress, save_image, validate_image_path
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.imaging.xmp import format_xmp, parse_xmp
from instantstyle.recipe import Recipe

from ..test_recipe import recipe_fields

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)
IMAGE = Image.fromarray(PIXELS)
RECIPE = Recipe(prompt='火箭 <b> & "a" ]]> &amp;', negative_prompt="é", seed=1, num_inference_steps=3)
SUFFIXES = ("png", "jpg", "JPEG", "webp")


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(fields=recipe_fields)
def test_any_recipe_is_read_back(tmp_path_factory, suffix, fields):
    recipe = Recipe(**fields)
    path = save_image(IMAGE, tmp_path_factory.mktemp("out") / f"a.{suffix}", recipe)
    assert read_recipe(path) == recipe


@pytest.mark.parametrize(("suffix", "format_"), [("png", "PNG"), ("jpg", "JPEG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_the_suffix_determines_the_format(tmp_path, suffix, format_):
    with Image.open(save_image(IMAGE, tmp_path / f"a.{suffix}", RECIPE)) as image:
        assert (image.format, image.size) == (format_, (16, 24))


def test_png_and_webp_keep_all_pixels(tmp_path):
    for suffix in ("png", "webp"):
        with Image.open(save_image(IMAGE, tmp_path / f"a.{suffix}", RECIPE)) as image:
            assert np.array_equal(np.asarray(image), PIXELS)


def test_a_jpeg_of_smooth_colours_is_close_to_the_image_and_keeps_the_resolution_of_colours(tmp_path):
    image = Image.new("RGB", (16, 16), (200, 60, 40))
    image.paste((30, 60, 170), (8, 0, 16, 16))
    with Image.open(save_image(image, tmp_path / "a.jpg", RECIPE)) as written:
        difference = np.abs(np.asarray(written, dtype=int) - np.asarray(image, dtype=int))
    assert difference.max() <= 4


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_other_tools_find_their_text_in_the_user_comment(tmp_path, suffix):
    with Image.open(save_image(IMAGE, tmp_path / f"a.{suffix}", RECIPE)) as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment.startswith(b"UNICODE\0")
    assert comment[8:].decode("utf-16-be") == format_a1111(RECIPE)


def test_recompressing_gives_the_pixels_of_the_written_file(tmp_path):
    for suffix, format_ in (("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")):
        with Image.open(save_image(IMAGE, tmp_path / f"a.{suffix}", RECIPE)) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(recompress(IMAGE, format_)))


def test_a_recipe_that_is_too_long_for_a_jpeg_is_refused_before_the_work(tmp_path):
    long = RECIPE.replace(prompt="火" * (MAX_JPEG_TEXT // 3))
    for write in (
        lambda: validate_image_path(tmp_path / "a.jpg", long),
        lambda: save_image(IMAGE, tmp_path / "a.jpg", long),
    ):
        with pytest.raises(JobError, match=r"a JPEG holds at most .* write a \.png or \.webp"):
            write()
    assert list(tmp_path.iterdir()) == []
    assert read_recipe(save_image(IMAGE, tmp_path / "a.webp", long)) == long


def test_a_long_comment_for_other_tools_is_left_out_of_a_jpeg(tmp_path):
    # In UTF-16 the text has two bytes for each letter, in the packet one.
    long = RECIPE.replace(prompt="a" * 40_000)
    with Image.open(save_image(IMAGE, tmp_path / "a.jpg", long)) as image:
        assert "exif" not in image.info
    assert read_recipe(tmp_path / "a.jpg") == long


def test_other_suffixes_are_refused_with_the_known_ones(tmp_path):
    for name in ("a.gif", "a", "a.png.txt"):
        with pytest.raises(JobError, match=r"should end in \.png, \.jpg or \.webp"):
            validate_image_path(tmp_path / name)


def test_the_recipe_is_found_among_properties_of_other_programs():
    packet = format_xmp('{"prompt": "a < b"}').replace(b"</rdf:RDF>", b"<rdf:Description xmp:Rating='5'/></rdf:RDF>")
    assert parse_xmp(packet) == '{"prompt": "a < b"}'


@pytest.mark.parametrize("packet", [None, "text", b"", b"<x/>", b"<instantstyle:recipe>\xff</instantstyle:recipe>"])
def test_other_packets_have_no_recipe(packet):
    assert parse_xmp(packet) is None
