"""Files of animations hold the frames, their times and the recipe, in every format."""

import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

from instantstyle import ImageError, JobError, MissingExtra
from instantstyle.imaging.animation_file import (
    ANIMATION_SUFFIXES,
    read_animation,
    recompress_frames,
    save_animation,
    validate_animation_path,
)
from instantstyle.imaging.png_check import read_texts_if_complete
from instantstyle.imaging.png_metadata import read_png_text, read_recipe
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Reference

FRAMES = [Image.effect_noise((32, 16), 40 + 30 * i).convert("RGB") for i in range(4)]
RECIPE = Recipe(prompt="é – 一" * 300, seed=1, motion_adapter=Reference(name="motion"), frames=4, fps=12)


def _largest_difference(frames: list[Image.Image], others: list[Image.Image]) -> int:
    pairs = zip(frames, others, strict=True)
    return max(abs(a - b) for one, other in pairs for a, b in zip(one.tobytes(), other.tobytes(), strict=True))


@pytest.mark.parametrize(("suffix", "tolerance"), [(".gif", 120), (".webp", 0), (".png", 0), (".mp4", 60)])
def test_frames_and_recipe_are_read_as_they_were_written(tmp_path, suffix, tolerance):
    path = save_animation(FRAMES, tmp_path / f"a{suffix}", 12, RECIPE)
    frames, animation_format = read_animation(path.read_bytes(), str(path))
    assert animation_format == ANIMATION_SUFFIXES[suffix]
    assert _largest_difference(frames, FRAMES) <= tolerance
    assert read_recipe(path) == RECIPE
    assert _largest_difference(recompress_frames(FRAMES, animation_format, 12), frames) == 0
    save_animation(FRAMES, tmp_path / f"plain{suffix}", 12)
    with pytest.raises(JobError, match=r"plain\.\w+ carries no recipe"):
        read_recipe(tmp_path / f"plain{suffix}")
    with pytest.raises(JobError, match="exists"):
        save_animation(FRAMES, path, 12)


@pytest.mark.parametrize(("suffix", "expected"), [(".gif", [80, 90, 80, 80]), (".webp", [83, 84, 83, 83])])
def test_times_of_frames_add_up_and_the_animation_repeats(tmp_path, suffix, expected):
    with Image.open(save_animation(FRAMES, tmp_path / f"a{suffix}", 12)) as image:
        durations = []
        for frame in ImageSequence.Iterator(image):
            frame.load()
            durations.append(frame.info["duration"])
        assert (durations, image.info["loop"]) == (expected, 0)


def test_an_mp4_has_the_rate_of_frames_and_begins_with_its_metadata(tmp_path):
    import av

    path = save_animation(FRAMES, tmp_path / "a.mp4", 12.5, RECIPE)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (float(stream.average_rate or 0), stream.codec_context.name) == (12.5, "h264")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_the_first_frame_of_a_png_is_a_whole_image_with_texts(tmp_path):
    path = save_animation(FRAMES, tmp_path / "a.png", 12, RECIPE)
    texts = read_texts_if_complete(path)
    assert texts is not None
    assert texts["parameters"].startswith(RECIPE.prompt)


def test_a_comment_of_another_program_is_no_recipe(tmp_path):
    FRAMES[0].save(tmp_path / "a.gif", comment="made by {x}")
    with pytest.raises(JobError, match="carries no recipe"):
        read_recipe(tmp_path / "a.gif")


def test_what_is_no_animation_is_refused_in_one_line(tmp_path, monkeypatch):
    file = BytesIO()
    FRAMES[0].save(file, "BMP")
    whole = save_animation(FRAMES, tmp_path / "a.mp4", 12, RECIPE).read_bytes()
    gif = save_animation(FRAMES, tmp_path / "a.gif", 12, RECIPE).read_bytes()
    for data, message in (
        (file.getvalue(), "is a BMP, which is no format of animations"),
        (whole[:200], "cannot be read or written as MP4"),
        (b"\0\0\0\x18ftypisom" + bytes(100), "cannot be read or written as MP4"),
        (gif[:-200], "is damaged or cut short"),
    ):
        with pytest.raises(ImageError, match=message):
            read_animation(data, "it")
    (tmp_path / "cut.mp4").write_bytes(whole[:200])
    with pytest.raises(JobError, match="carries no recipe"):
        read_recipe(tmp_path / "cut.mp4")
    assert read_png_text(tmp_path / "cut.mp4", "a") is None
    with pytest.raises(ImageError, match="cannot be read or written as MP4"):
        save_animation([FRAMES[0].crop((0, 0, 31, 15))], tmp_path / "odd.mp4", 12)
    with pytest.raises(JobError, match=r"a\.jpg should end in \.gif, \.webp, \.png or \.mp4"):
        validate_animation_path(tmp_path / "a.jpg")
    monkeypatch.setattr("instantstyle.imaging.video_file.MAX_PIXELS", 1000)
    monkeypatch.setattr("instantstyle.imaging.animation_file.MAX_PIXELS", 1000)
    for data in (whole, gif):
        with pytest.raises(ImageError, match="megapixels in all frames"):
            read_animation(data, "it")


def test_an_mp4_without_its_library_names_the_extra(tmp_path, monkeypatch):
    path = save_animation(FRAMES, tmp_path / "a.mp4", 12, RECIPE)
    monkeypatch.setitem(sys.modules, "av", None)
    for work in (lambda: read_recipe(path), lambda: validate_animation_path(Path("b.mp4"))):
        with pytest.raises(MissingExtra, match=r"pip install 'instantstyle\[video\]'"):
            work()
