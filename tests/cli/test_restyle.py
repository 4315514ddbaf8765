"""`instantstyle restyle`: an image in another style with its structure."""

import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from instantstyle.imaging.a1111 import format_a1111
from instantstyle.imaging.control_image import default_strength
from instantstyle.imaging.png_metadata import read_recipe

from .test_generate import ink, pixels, refused  # noqa: F401

SHORT = ("--steps", 4, "--seed", 7)


@pytest.fixture
def restyle(run, model, ink, tmp_path):  # noqa: F811
    photo = Image.effect_noise((48, 24), 60).convert("RGB")
    photo.save(tmp_path / "photo.png")

    def command(*words: object):
        return run("restyle", "photo.png", "--model", model, "--style", "ink.png", *SHORT, *words)

    return command


def test_the_result_has_the_proportions_of_the_image_and_the_size_of_the_model(restyle):
    done = restyle("-o", "out.png")
    assert (done.code, done.out, done.err) == (0, "out.png\n", "")
    with Image.open("out.png") as image:
        assert image.size == (24, 8)


def test_a_width_keeps_the_proportions_and_both_sides_are_exact(restyle, run):
    for words, size in (
        (("--width", 64), (64, 32)),
        (("--height", 16), (32, 16)),
        (("--width", 32, "--height", 32), (32, 32)),
    ):
        done = restyle(*words, "-o", "out.png", "--force")
        assert done.code == 0, done.err
        with Image.open("out.png") as image:
            assert image.size == size
    assert run("reproduce", "out.png").out == "bit-identical\n"


def test_the_result_is_named_after_the_image(restyle):
    assert restyle().out == "photo-restyled-7.png\n"


def test_the_recipe_holds_the_image_and_the_strength(restyle):
    restyle("--strength", 0.5, "-o", "out.png")
    recipe = read_recipe("out.png")
    assert recipe.image is not None
    assert (recipe.image.name, recipe.strength, recipe.control) == ("photo.png", 0.5, "none")
    assert "Denoising strength: 0.5" in format_a1111(recipe)


def test_verbose_says_how_the_image_is_used_and_names_no_seed_without_effect(restyle):
    plain = restyle("--strength", 0.5, "--verbose", "-o", "plain.png").err
    assert "image photo.png: strength 0.5\n" in plain
    assert "first seed 7\n" in plain
    kept = restyle("--keep-content", "--control", "none", "--inversion", 2, "--verbose", "-o", "kept.png").err
    used = "image photo.png: inverted with 2 evaluations at each step, a reference in all blocks with scale 0.2\n"
    assert used in kept
    assert "first seed" not in kept
    assert "warning: seed has no effect on images that begin with an inversion" in kept


def test_a_guidance_interval_changes_the_result(restyle):
    restyle("-o", "throughout.png")
    restyle("--guidance-interval", "0.5:1", "-o", "part.png")
    assert pixels("part.png") != pixels("throughout.png")


def test_style_and_strength_change_the_result(restyle):
    results = []
    for place, words in enumerate([(), ("--scale", 0), ("--strength", 0.3)]):
        restyle(*words, "-o", f"{place}.png")
        results.append(pixels(f"{place}.png"))
    assert len(set(results)) == 3


@pytest.mark.slow
def test_kept_content_begins_with_the_inversion_and_each_part_can_be_left_out(restyle, run):
    results: list[object] = []
    for place, (words, expected) in enumerate(
        (
            ((), (3, 0.2, 1.2, None, "ddim")),
            (("--image-scale", 0), (3, 0.0, 1.2, None, "ddim")),
            (("--scale", 1), (3, 0.2, 1.0, None, "ddim")),
            (("--inversion", 0), (0, 0.2, 1.2, 0.6, "DDIMScheduler")),
        )
    ):
        # The small model is one of SDXL, whose ControlNet would be fetched.
        done = restyle("--keep-content", "--control", "none", *words, "-o", f"{place}.png")
        assert done.code == 0, done.err
        recipe = read_recipe(f"{place}.png")
        found = (recipe.inversion, recipe.image_scale, recipe.scale, recipe.strength, recipe.scheduler)
        assert found == expected, words
        results.append(pixels(f"{place}.png"))
    assert len(set(results)) == len(results)
    assert run("reproduce", "0.png").out == "bit-identical\n"
    assert "Inversion: 3, Image scale: 0.2" in format_a1111(read_recipe("0.png"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--keep-content", "-n", 2), "does not depend on its seed, so that all 2 would be equal"),
        (("--keep-content", "--strength", 0.5), "strength cannot act on an image that begins with an inversion"),
        (("--keep-content", "--scheduler", "euler"), "an inversion is drawn by DDIM, and scheduler is 'euler'"),
        (("--control", "depth"), "'none', 'canny' or 'tile'"),
        (("--strength", 0), "strength is 0"),
        (("--strength", 1.5), "strength is 1.5"),
    ],
)
def test_invalid_options_are_refused(restyle, words, reason):
    assert reason in refused(restyle(*words, "-o", "out.png"))


def test_a_missing_image_is_refused(run, model, ink):  # noqa: F811
    assert "nowhere.png does not exist" in refused(run("restyle", "nowhere.png", "--style", "ink.png"))


def test_messages_name_the_parts_that_keep_content_stands_for(run, ink, restyle, monkeypatch):  # noqa: F811
    part = "--keep-content stands for --inversion 3 here; add --inversion 0 to leave that part out."
    for words, message in (
        (("--strength", 0.5), "strength cannot act on an image that begins with an inversion"),
        (("--scheduler", "euler"), "an inversion is drawn by DDIM, and scheduler is 'euler'"),
        (("-n", 2), "so that all 2 would be equal; ask for one."),
        (("--model", "flux-dev"), "inversion acts in the layers of a UNet, and flux-dev has a diffusion transformer"),
    ):
        done = restyle("--keep-content", *words, "-o", "out.png")
        assert (done.code, message in done.err, done.err.endswith(f" {part}\n")) == (2, True, True), words
        # Who has named the inversion is not told of another option.
        named = restyle("--keep-content", "--inversion", 3, *words, "-o", "out.png")
        assert (named.code, message in named.err, "stands for" in named.err) == (2, True, False), words
    assert part in restyle("--keep-content", "--control", "none", "-o", "out.png").err
    # A family's ControlNet that cannot be had.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("instantstyle.generation.load.load_model", lambda *_, **__: pytest.fail("loaded"))
    done = run("restyle", "ink.png", "--style", "ink.png", "--model", "sdxl", "--keep-content", "-o", "other.png")
    assert "--keep-content stands for --control tile here; add --control none to leave that part out." in done.err


def test_without_opencv_edges_are_refused_before_the_model_is_loaded(run, ink, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setattr("instantstyle.generation.load.load_model", lambda *_, **__: pytest.fail("loaded"))
    # --keep-content takes edges by itself where the family has no other ControlNet.
    for words in (("--control", "canny"), ("--keep-content",)):
        done = run("restyle", "ink.png", "--style", "ink.png", "--model", "sd15", *words, "-o", "out.png")
        assert (done.code, "pip install 'instantstyle[control]', or set control to none." in done.err) == (2, True)


def test_a_model_without_a_controlnet_is_refused(run, ink):  # noqa: F811
    done = run("restyle", "ink.png", "--style", "ink.png", "--control", "tile", "-o", "out.png")
    assert "There is no tile ControlNet for mini; there is canny" in refused(done)


def test_the_default_strength_depends_on_the_model_and_the_control():
    assert [default_strength("mini"), default_strength("sdxl"), default_strength("mini", "canny")] == [0.95, 0.6, 1.0]


def test_mini_restyles_by_default(run, tmp_path):
    """A red disc in the style of a blue scene becomes blue, and the background dark."""
    photo = Image.new("RGB", (128, 128), (255, 240, 230))
    ImageDraw.Draw(photo).ellipse((32, 32, 96, 96), fill=(200, 30, 30))
    photo.save(tmp_path / "photo.png")
    style = Image.new("RGB", (128, 128), (10, 20, 60))
    ImageDraw.Draw(style).rectangle((20, 60, 60, 110), fill=(60, 130, 250))
    style.save(tmp_path / "style.png")
    words = ("--style", "style.png", "--prompt", "a star", "--seed", 1, "-o", "out.png")
    assert run("restyle", "photo.png", *words, "--device", "cpu").code == 0
    with Image.open("out.png") as image:
        red, _, blue = np.asarray(image.convert("RGB"), dtype=float).reshape(-1, 3).mean(0)
    assert read_recipe("out.png").strength == 0.95
    # At 0.6 the mean is 231 red, 202 blue; the photo's 244 and 190; the reference's 16 and 84.
    assert blue > red + 40
