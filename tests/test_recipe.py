"""A recipe survives its own JSON, refuses nonsense in one line, and reads as A1111's text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instantstyle import JobError
from instantstyle.recipe import Recipe

WHOLE = {
    "prompt": "a rocket",
    "negative_prompt": "blurry",
    "references": [{"name": "ink.png", "sha256": "0" * 64}],
    "content": ["a cat"],
    "content_scale": 0.5,
    "seed": 1,
    "num_inference_steps": 20,
    "guidance_scale": 7.0,
    "guidance_interval": (0.2, 0.8),
    "height": 64,
    "width": 64,
    "scheduler": "DDIMScheduler",
    "versions": {"instantstyle": "0.1.0"},
}

words = st.text(st.characters(codec="utf-8"), max_size=40)
weights = st.floats(0, 10)

recipes = st.builds(
    Recipe,
    prompt=words,
    negative_prompt=words,
    content=st.lists(words.filter(bool), max_size=3),
    scale=weights,
    blocks=st.one_of(
        st.just("style"), st.lists(words, max_size=2), st.dictionaries(words, weights, max_size=2)
    ),
    seed=st.integers(0, 2**63 - 1),
)


@given(recipes)
def test_a_recipe_survives_its_json(recipe):
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_a_recipe_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Recipe(prompt="a", seed=1).seed = 2  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"scale": -0.1}, "scale is -0.1"),
        ({"height": 63}, "multiple of 8"),
        ({"removal": "divide"}, "'subtract', 'project', 'mask' or 'clean'"),
        ({"content_scale": 11}, "content_scale.number is 11"),
        ({"content_scale": "lots"}, "content_scale.number is 'lots'"),
        ({"crop": "centre"}, "'center', 'pad' or 'squash'"),
        ({"content": [""]}, "content.0 is ''"),
        ({"references": [{"name": "a", "sha256": "xyz"}]}, "sha256"),
        ({"version": 2}, "version is 2"),
        ({"guidance_interval": (0.8, 0.2)}, r"guidance_interval is \(0.8, 0.2\), should begin no later"),
        ({"guidance_interval": (0.8, 1.2)}, r"guidance_interval.1 is 1.2"),
        ({"guidance_interval": (0.8,)}, r"guidance_interval.1 is missing"),
        ({"num_inference_step": 3}, "no field num_inference_step .perhaps num_inference_steps"),
    ],
)
def test_nonsense_is_refused_in_one_line(fault, told):
    with pytest.raises(JobError, match=told) as refusal:
        Recipe.model_validate({**WHOLE, **fault})
    assert "\n" not in str(refusal.value)


def test_all_faults_are_told_at_once():
    with pytest.raises(JobError, match=r"scale is 99.*seed is -1"):
        Recipe(prompt="a", seed=-1, scale=99)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"prompt": "a"}'])
def test_what_is_no_recipe_is_refused(text):
    with pytest.raises(JobError):
        Recipe.from_json(text)


def test_a_change_is_validated_too():
    recipe = Recipe.model_validate(WHOLE)
    assert recipe.but(seed=2).seed == 2
    with pytest.raises(JobError, match="seed is -2"):
        recipe.but(seed=-2)


def test_the_text_for_other_front_ends_is_theirs():
    assert Recipe.model_validate(WHOLE).a1111() == (
        "a rocket\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: DDIMScheduler, CFG scale: 7, CFG interval: 0.2-0.8, "
        "Seed: 1, Size: 64x64, Model: mini, RNG: CPU, "
        "Style reference: ink.png, Style content: a cat, Style removal: subtract, Style content scale: 0.5, "
        "Style blocks: style, Style scale: 1, Version: 0.1.0"
    )


def test_cleaning_is_told_though_it_names_no_content():
    text = Recipe.model_validate({**WHOLE, "content": [], "removal": "clean", "content_scale": 1}).a1111()
    assert "Style removal: clean, Style content scale: 1, " in text


def test_an_amount_may_be_left_to_be_chosen():
    recipe = Recipe.model_validate({**WHOLE, "content_scale": "auto"})
    assert recipe.content_scale == "auto"
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_values_with_separators_are_quoted():
    text = Recipe(prompt="a", seed=1, model="C:\\models, mine", references=({"name": "a"},)).a1111()  # pyright: ignore
    assert r'Model: "C:\\models, mine"' in text


def test_without_a_negative_prompt_or_reference_their_lines_are_absent():
    assert Recipe(prompt="a", seed=1).a1111() == "a\nSeed: 1, Model: mini, RNG: CPU"
