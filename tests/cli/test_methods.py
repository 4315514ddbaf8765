"""Methods of the attention on the command line: recorded, reproduced bit by bit, and refused where they cannot act."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import instantstyle
from instantstyle import InstantStyle, JobError, SharedAttention
from instantstyle.generation.explain import explain
from instantstyle.generation.generate import generate as generate_images
from instantstyle.generation.reproduce import reproduce
from instantstyle.imaging.a1111 import format_a1111
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.recipe import Recipe

SHORT = ("--steps", 2, "--height", 16, "--width", 16, "--seed", 7)


@pytest.fixture(scope="module")
def styled(model) -> InstantStyle:
    """The model of the command, for Python calls."""
    styled = instantstyle.load(str(model), device="cpu")
    styled.pipe.set_progress_bar_config(disable=True)
    return styled


@pytest.fixture
def generate(run, model, reference, tmp_path) -> Callable[..., Any]:
    reference.save(tmp_path / "ink.png")
    return lambda *words: run("generate", *words, "--model", model, *SHORT)


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


@pytest.mark.slow
def test_a_fused_style_with_a_held_layout_is_reproduced(generate):
    words = ("a rocket", "--style", "ink.png", "--blocks", "all")
    done = generate(*words, "--fuse", "adain", "--hold-layout", 0.5, "-o", "out.png")
    assert (done.code, done.err) == (0, "")
    recipe = read_recipe("out.png")
    assert (recipe.fuse, recipe.hold_layout) == ("adain", 0.5)
    assert "Style fuse: adain, Style hold layout: 0.5" in format_a1111(recipe)
    assert str(reproduce(Path("out.png"))[2]) == "bit-identical"
    for name, changed in {"fused": ("--fuse", "adain"), "held": ("--hold-layout", 0.5), "added": ()}.items():
        assert generate(*words, *changed, "-o", f"{name}.png").code == 0
        assert not np.array_equal(pixels(f"{name}.png"), pixels("out.png")), name


@pytest.mark.slow
@pytest.mark.parametrize(("option", "method"), [("--shared", "align"), ("--swapped", "swap")])
def test_each_image_of_a_set_is_reproduced_without_the_others(generate, option: str, method: str):
    prompts = ("a cat", "a rocket", "a fish")
    done = generate(*prompts, option)
    paths = ["a-cat-7.png", "a-rocket-8.png", "a-fish-9.png"]
    assert (done.code, done.out.split()) == (0, paths)
    for place, path in enumerate(paths):
        recipe = read_recipe(path)
        assert (recipe.prompt, recipe.seed, recipe.shared) == (prompts[place], 7 + place, method)
        assert (recipe.first_prompt, recipe.first_seed) == ("a cat", 7)
        assert "Shared attention first prompt: a cat, Shared attention first seed: 7" in format_a1111(recipe)
        assert str(reproduce(Path(path))[2]) == "bit-identical", path
    plain = {
        path: generate(prompt, "--seed", 7 + place, "-o", f"plain-{place}.png")
        for place, (path, prompt) in enumerate(zip(paths, prompts, strict=True))
    }
    equal = [np.array_equal(pixels(path), pixels(f"plain-{place}.png")) for place, path in enumerate(plain)]
    assert equal == [True, False, False], "the first image is as without"


def test_a_set_is_that_of_one_call_in_python(generate, styled):
    assert generate("a cat", "a rocket", "--shared", "-o", "set.png").code == 0
    images = styled(
        ["a cat", "a rocket"], style=SharedAttention(), seed=7, num_inference_steps=2, height=16, width=16
    ).images
    for place, image in enumerate(images):
        assert np.abs(np.asarray(image).astype(int) - pixels(f"set-{7 + place}.png")).max() <= 1, place


def test_a_python_call_records_its_methods_or_refuses_by_name(styled, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    short = {"num_inference_steps": 2, "height": 16, "width": 16, "seed": 7}
    held = styled("a", style=str(tmp_path / "ink.png"), fuse="adain", hold_layout=0.5, **short)
    recipe = held.recipe()
    assert (recipe.fuse, recipe.hold_layout, recipe.shared) == ("adain", 0.5, None)
    [(image, _)] = generate_images(styled, recipe)
    assert np.array_equal(np.asarray(image), np.asarray(held.images[0]))
    shared = styled(["a", "b"], style=SharedAttention.swapped("up_blocks.*"), **short)
    recipe = shared.recipe(1)
    assert (recipe.prompt, recipe.shared, recipe.first_prompt, recipe.first_seed) == ("b", "swap", "a", 7)
    for arguments, refused in (
        ({"style": SharedAttention(scale=0.5)}, "a SharedAttention with other settings"),
        ({"style": SharedAttention(mask=reference)}, "a SharedAttention with other settings"),
        (
            {"style": SharedAttention(), "negative_prompt": ["c", "d"]},
            "a SharedAttention between images with different",
        ),
    ):
        with pytest.raises(JobError, match=f"does not record {refused}"):
            styled(["a", "b"], **{**short, **arguments}).recipe(1)


def test_methods_that_cannot_act_are_refused_in_one_line(generate, run, model):
    styled = ("--style", "ink.png")
    cases = {
        ("a", "--fuse", "adain"): "fuse can only act on the style of a reference",
        ("a", "--hold-layout", 0.5): "hold_layout can only act on the style of a reference",
        ("", *styled, "--fuse", "adain"): "the prompt is empty; write what the image shows",
        ("a", *styled, "--fuse", "mean"): "fuse is 'mean', should be 'add' or 'adain'",
        ("a", *styled, "--hold-layout", 2): "hold_layout is 2.0, should be less than or equal to 1",
        ("a", "--shared"): "there is one image; ask for several",
        ("a", "b"): "There are 2 prompts. Put one of several words in quotes",
        ("a", "b", *styled, "--shared", "--hold-layout", 0.5): "both change self-attention",
    }
    for words, message in cases.items():
        done = generate(*words)
        assert (done.code, done.err.count("\n")) == (2, 1), words
        assert message in done.err, words


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hold_layout": 0.5, "motion_adapter": {"name": "motion"}}, "hold_layout cannot act on an animation"),
        ({"shared": "align", "motion_adapter": {"name": "motion"}}, "shared cannot act on an animation"),
        ({"shared": "align", "first_seed": 3}, "first_prompt and first_seed name the first image of a set together"),
    ],
)
def test_recipes_that_exclude_each_other_are_refused(fields: dict[str, Any], message: str):
    with pytest.raises(JobError, match=message):
        Recipe.model_validate({"prompt": "a", "seed": 1, **fields})


def test_a_sweep_shares_attention_with_its_first_cell_and_needs_two(run, model):
    sweep = ("sweep", "a cat", "--model", model, *SHORT)
    done = run(*sweep, "--x", "shared=,align,swap", "--y", "seed=1,2", "-o", "sweep.png")
    assert done.code == 0, done.err
    done = run(*sweep, "--shared", "--x", "steps=1,2", "-o", "alone.png")
    assert done.code == 2
    assert "there is one image" in done.err


def test_a_sweep_has_cells_without_a_reference_whose_layout_is_not_held(generate, run, model):
    generate("a", "-o", "other.png")
    done = run(
        "sweep", "a", "--model", model, *SHORT, "--x", "style=,ink.png", "--hold-layout", 0.5, "-o", "sweep.png"
    )
    assert done.code == 0, done.err


def test_an_explanation_shows_the_image_and_not_those_beside_it(generate):
    words = ("--style", "ink.png", "--blocks", "all")
    assert generate("a cat", "a fish", *words, "--shared", "-o", "set.png").code == 0
    assert generate("a cat", *words, "--hold-layout", 0.5, "-o", "held.png").code == 0
    shared = explain(Path("set-8.png"))
    assert shared.place == 1
    assert np.array_equal(np.asarray(shared.image), pixels("set-8.png"))
    held = explain(Path("held.png"))
    assert held.render().size[0] > held.image.width
