"""Embedded ICC profiles are converted to sRGB, whatever the mode; those that cannot be used are ignored."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from instantstyle.imaging.loading import open_mask, open_reference
from instantstyle.imaging.png_metadata import read_recipe, save_png
from instantstyle.imaging.thumbnail import decode_thumbnail, make_thumbnail
from instantstyle.recipe import Recipe

from .profiles import ADOBE_RGB, DISPLAY_P3, SRGB, cmyk_profile, grey_profile, rgb_profile

P3, ADOBE = rgb_profile(DISPLAY_P3), rgb_profile(ADOBE_RGB, 563 / 256)

# Computed with the equations of IEC 61966-2-1 and the primaries in `profiles`, not with LittleCMS.
P3_COLOR, P3_AS_SRGB = (201, 60, 40), (219, 41, 22)
ADOBE_COLOR, ADOBE_AS_SRGB = (30, 160, 70), (0, 161, 60)


def first_pixel(image: Image.Image) -> tuple[int, ...]:
    assert image.mode == "RGB"
    return tuple(np.asarray(image)[0, 0].tolist())


def opened(image: Image.Image, format: str, profile: bytes, **options: object) -> tuple[int, ...]:
    """Save an image with a profile, and return the first pixel of what is loaded."""
    file = BytesIO()
    image.save(file, format, icc_profile=profile, **options)
    return first_pixel(open_reference(file.getvalue()))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_the_profile_of_every_format_is_converted(format):
    image = Image.new("RGB", (16, 16), P3_COLOR)
    options = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(format, {})
    assert opened(image, format, P3, **options) == pytest.approx(P3_AS_SRGB, abs=2)


def test_adobe_rgb_is_converted():
    assert opened(Image.new("RGB", (4, 4), ADOBE_COLOR), "PNG", ADOBE) == pytest.approx(ADOBE_AS_SRGB, abs=1)


def test_the_profile_of_an_image_in_memory_is_converted_and_the_image_is_unchanged():
    image = Image.new("RGB", (4, 4), P3_COLOR)
    image.info["icc_profile"] = P3
    assert first_pixel(open_reference(image)) == pytest.approx(P3_AS_SRGB, abs=1)
    assert first_pixel(image) == P3_COLOR
    assert image.info["icc_profile"] == P3


@pytest.mark.parametrize(
    "profile", [rgb_profile(SRGB), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_srgb_pixels_stay_exactly_as_they_are(profile):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    file = BytesIO()
    noise.save(file, "PNG", icc_profile=profile)
    assert np.array_equal(np.asarray(open_reference(file.getvalue())), np.asarray(noise))


@pytest.mark.parametrize(("profile", "shade"), [(grey_profile(1.0), 188), (rgb_profile(SRGB, 1.0), 188)])
def test_linear_grey_is_brightened(profile, shade):
    """By a profile of grey, or of colours as some programs embed it in grey images."""
    assert opened(Image.new("L", (4, 4), 128), "PNG", profile) == pytest.approx((shade,) * 3, abs=1)
    deep = Image.fromarray(np.full((4, 4), 128 * 257, dtype=np.uint16))
    assert opened(deep, "PNG", profile) == pytest.approx((shade,) * 3, abs=1)


def test_a_profile_is_converted_before_transparency_is_composited():
    half = Image.new("RGBA", (4, 4), (*P3_COLOR, 51))
    expected = [255 - (255 - level) * 0.2 for level in P3_AS_SRGB]
    assert opened(half, "PNG", P3) == pytest.approx(expected, abs=2)
    grey = Image.new("LA", (4, 4), (128, 51))
    assert opened(grey, "PNG", grey_profile(1.0)) == pytest.approx([255 - 67 * 0.2] * 3, abs=2)


def test_the_profile_of_a_palette_is_converted():
    image = Image.new("P", (2, 1))
    image.putpalette([*P3_COLOR, 0, 0, 0])
    assert opened(image, "PNG", P3) == pytest.approx(P3_AS_SRGB, abs=1)


def test_a_cmyk_jpeg_has_the_colours_of_its_profile():
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert opened(cyan, "JPEG", cmyk_profile(), quality=100) == pytest.approx((119, 119, 119), abs=2)
    black = Image.new("CMYK", (16, 16), (0, 0, 0, 255))
    assert opened(black, "JPEG", cmyk_profile(), quality=100) == pytest.approx((0, 0, 0), abs=2)


def test_a_lab_tiff_opens_in_its_colours():
    source = Image.new("RGB", (4, 4), (200, 60, 40))
    srgb, lab = (ImageCms.createProfile(space) for space in ("sRGB", "LAB"))
    converted = ImageCms.profileToProfile(source, srgb, lab, outputMode="LAB")
    assert converted is not None
    for profile in (converted.info["icc_profile"], b""):
        assert opened(converted, "TIFF", profile) == pytest.approx((200, 60, 40), abs=2)


UNUSABLE = {
    "no profile at all": b"not a profile",
    "cut after the header": P3[:140],
    "cut in a tag": P3[:-40],
    "of grey": grey_profile(1.0),
    "of CMYK": cmyk_profile(),
    "without a curve": P3.replace(b"gTRC", b"none"),
}


@pytest.mark.parametrize("fault", UNUSABLE)
@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG"])
def test_an_unusable_profile_is_ignored_and_the_image_kept(fault, format):
    color = opened(Image.new("RGB", (16, 16), P3_COLOR), format, UNUSABLE[fault])
    assert color == pytest.approx(P3_COLOR, abs=2)


def test_a_profile_with_a_changed_byte_keeps_the_image():
    for position in range(0, len(P3), 3):
        changed = bytearray(P3)
        changed[position] ^= 0xFF
        assert len(opened(Image.new("RGB", (4, 4), P3_COLOR), "PNG", bytes(changed))) == 3


def test_the_thumbnail_of_a_style_has_srgb_colours():
    image = Image.new("RGB", (64, 64), P3_COLOR)
    image.info["icc_profile"] = P3
    data = make_thumbnail([open_reference(image)])
    with Image.open(BytesIO(data)) as thumbnail:
        assert "icc_profile" not in thumbnail.info
    assert first_pixel(decode_thumbnail(data)) == pytest.approx(P3_AS_SRGB, abs=6)


def test_the_profile_of_a_thumbnail_is_converted():
    file = BytesIO()
    Image.new("RGB", (64, 64), P3_COLOR).save(file, "JPEG", icc_profile=P3, quality=100)
    assert first_pixel(decode_thumbnail(file.getvalue())) == pytest.approx(P3_AS_SRGB, abs=3)


def test_a_recipe_is_read_from_a_png_that_was_saved_again_with_a_profile(tmp_path: Path):
    recipe = Recipe(prompt="a rocket", seed=1)
    path = save_png(Image.new("RGB", (8, 8), P3_COLOR), tmp_path / "a.png", recipe)
    with Image.open(path) as image:
        image.load()
    info = ImageInfo(image)
    image.save(path, icc_profile=P3, pnginfo=info.texts)
    assert read_recipe(path) == recipe
    assert first_pixel(open_reference(path)) == pytest.approx(P3_AS_SRGB, abs=1)


class ImageInfo:
    """The texts of a PNG, as an image viewer keeps them."""

    def __init__(self, image: Image.Image) -> None:
        from PIL.PngImagePlugin import PngInfo

        self.texts = PngInfo()
        for key, text in image.info.items():
            self.texts.add_text(str(key), text)


def test_the_profile_of_a_mask_is_converted_too():
    file = BytesIO()
    Image.new("L", (4, 4), 128).save(file, "PNG", icc_profile=grey_profile(1.0))
    assert open_mask(file.getvalue()).getpixel((0, 0)) == pytest.approx(188, abs=1)
