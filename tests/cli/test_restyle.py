"""`instantstyle restyle`: a picture keeps its structure and takes on a style."""

import pytest
from PIL import Image

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


def test_the_result_has_the_pictures_proportions_and_the_models_size(restyle):
    done = restyle("-o", "out.png")
    assert (done.code, done.out, done.err) == (0, "out.png\n", "")
    with Image.open("out.png") as drawn:
        assert drawn.size == (24, 8)


def test_it_is_named_after_the_picture(restyle):
    assert restyle().out == "photo-restyled-7.png\n"


def test_the_recipe_says_what_it_began_from_and_how_far_it_went(restyle):
    restyle("--strength", 0.5, "-o", "out.png")
    recipe = read_recipe("out.png")
    assert recipe.image is not None
    assert (recipe.image.name, recipe.strength, recipe.control) == ("photo.png", 0.5, "none")
    assert "Denoising strength: 0.5" in recipe.to_a1111()


def test_guidance_for_a_part_of_the_steps_is_another_picture(restyle):
    restyle("-o", "throughout.png")
    restyle("--guidance-interval", "0.5:1", "-o", "part.png")
    assert pixels("part.png") != pixels("throughout.png")


def test_the_style_and_the_strength_make_a_difference(restyle):
    drawn = []
    for place, words in enumerate([(), ("--scale", 0), ("--strength", 0.3)]):
        restyle(*words, "-o", f"{place}.png")
        drawn.append(pixels(f"{place}.png"))
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--control", "depth"), "'none' or 'canny'"),
        (("--strength", 0), "strength is 0"),
        (("--strength", 1.5), "strength is 1.5"),
    ],
)
def test_what_cannot_be_done_is_refused(restyle, words, reason):
    assert reason in refused(restyle(*words, "-o", "out.png"))


def test_a_missing_picture_is_refused(run, model, ink):  # noqa: F811
    assert "nowhere.png does not exist" in refused(run("restyle", "nowhere.png", "--style", "ink.png"))


def test_the_bundled_model_has_no_controlnet_and_says_so(run, ink):  # noqa: F811
    done = run("restyle", "ink.png", "--style", "ink.png", "--control", "canny", "-o", "out.png")
    assert "There is no Canny ControlNet for mini" in refused(done)
