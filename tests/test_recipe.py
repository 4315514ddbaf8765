"""A recipe round-trips through JSON, rejects invalid fields in one line, and formats as A1111's text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instantstyle import JobError
from instantstyle.generation.request_checks import check_request
from instantstyle.imaging.a1111 import format_a1111
from instantstyle.recipe import FILE_FIELDS, STYLE_FIELDS, Recipe
from instantstyle.recipe_types import Lora

WHOLE = {
    "prompt": "a rocket",
    "negative_prompt": "blurry",
    "references": [{"name": "ink.png", "sha256": "0" * 64}],
    "content": ["a cat"],
    "content_scale": 0.5,
    "seed": 1,
    "num_inference_steps": 20,
    "guidance_scale": 7.0,
    "true_cfg_scale": 3.0,
    "guidance_interval": (0.2, 0.8),
    "height": 64,
    "width": 64,
    "scheduler": "DDIMScheduler",
    "versions": {"instantstyle": "0.1.0"},
}

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
weights = st.floats(0, 10)

# Recipes are built in the test: their validators import modules, some of which use `random`.
recipe_fields = st.fixed_dictionaries(
    {
        "prompt": words,
        "negative_prompt": words,
        "content": st.lists(words.filter(str.strip), max_size=3),
        "scale": weights,
        "blocks": st.one_of(
            st.just("style"), st.lists(words, max_size=2), st.dictionaries(words, weights, max_size=2)
        ),
        "seed": st.integers(0, 2**63 - 1),
    }
)


@given(recipe_fields)
def test_a_recipe_round_trips_through_json(fields):
    recipe = Recipe(**fields)
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_a_recipe_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Recipe(prompt="a", seed=1).seed = 2  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"scale": -0.1}, "scale is -0.1"),
        ({"height": 63}, "multiple of 8"),
        ({"removal": "divide"}, "'subtract', 'project', 'mask', 'clean' or 'cleanstyle'"),
        ({"content_scale": 11}, "content_scale is 11"),
        ({"content_scale": "lots"}, "content_scale is 'lots'"),
        ({"crop": "centre"}, "'center', 'pad' or 'squash'"),
        ({"content": [""]}, "content.0 is ''"),
        ({"references": [{"name": "a", "sha256": "xyz"}]}, "sha256"),
        ({"version": 2}, "version is 2"),
        ({"guidance_interval": (0.8, 0.2)}, r"guidance_interval is \(0.8, 0.2\), should begin no later"),
        ({"guidance_interval": (0.8, 1.2)}, r"guidance_interval.1 is 1.2"),
        ({"guidance_interval": (0.8,)}, r"guidance_interval is \(0.8,\), should be two numbers, such as 0.2 and 0.8"),
        ({"start": 0.9, "end": 0.1}, "begin at 0.9 of the steps and end at 0.1; start must not be greater"),
        ({"removal": "clean"}, "'clean' reads no words, and content is given"),
        ({"num_inference_step": 3}, "no field num_inference_step .perhaps num_inference_steps"),
    ],
)
def test_invalid_fields_raise_an_error_in_one_line(changes, message):
    with pytest.raises(JobError, match=message) as error:
        Recipe.model_validate({**WHOLE, **changes})
    assert "\n" not in str(error.value)


def test_all_errors_are_reported_at_once():
    with pytest.raises(JobError, match=r"scale is 99.*seed is -1"):
        Recipe(prompt="a", seed=-1, scale=99)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"prompt": "a"}'])
def test_text_that_is_not_a_recipe_raises_an_error(text):
    with pytest.raises(JobError):
        Recipe.from_json(text)


def test_replaced_fields_are_validated():
    recipe = Recipe.model_validate(WHOLE)
    assert recipe.replace(seed=2).seed == 2
    with pytest.raises(JobError, match="seed is -2"):
        recipe.replace(seed=-2)


def test_the_a1111_text_has_a1111s_format():
    assert format_a1111(Recipe.model_validate(WHOLE)) == (
        "a rocket\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: DDIMScheduler, CFG scale: 7, True CFG scale: 3, CFG interval: 0.2-0.8, "
        "Seed: 1, Size: 64x64, Model: mini, RNG: CPU, "
        "Style reference: ink.png, Style content: a cat, Style removal: subtract, Style content scale: 0.5, "
        "Style blocks: style, Style scale: 1, Version: 0.1.0"
    )


def test_the_a1111_text_names_token_cleaning_although_there_is_no_content():
    text = format_a1111(Recipe.model_validate({**WHOLE, "content": [], "removal": "clean", "content_scale": 1}))
    assert "Style removal: clean, Style content scale: 1, " in text


def test_the_content_scale_can_be_auto():
    recipe = Recipe.model_validate({**WHOLE, "content_scale": "auto"})
    assert recipe.content_scale == "auto"
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_values_with_separators_are_quoted():
    text = format_a1111(Recipe(prompt="a", seed=1, model="C:\\models, mine", references=({"name": "a"},)))  # pyright: ignore
    assert r'Model: "C:\\models, mine"' in text


def test_the_a1111_text_omits_an_absent_negative_prompt_and_style():
    assert format_a1111(Recipe(prompt="a", seed=1)) == "a\nSeed: 1, Model: mini, RNG: CPU"


@pytest.mark.parametrize("name", ["content", "negative_references"])
def test_a_request_with_a_field_that_needs_a_reference_and_none_raises_an_error(name):
    given = {"content": ["a cat"], "negative_references": [{"name": "oil.png"}]}
    recipe = Recipe.model_validate({"prompt": "a", "seed": 1, name: given[name]})
    with pytest.raises(JobError, match=f"{name} can only act on the style of a reference, and there is none"):
        check_request(recipe)
    check_request(recipe.replace(references=WHOLE["references"]))


def test_a_name_twice_in_the_json_of_a_recipe_is_refused():
    text = Recipe(prompt="a", seed=1).to_json()
    with pytest.raises(JobError, match=r"it has 'seed' twice"):
        Recipe.from_json(text.replace('"seed":1', '"seed":1,"seed":2'))


@pytest.mark.parametrize(
    "name", ["version", "scale", "start", "seed", "num_inference_steps", "guidance_scale", "height", "content_scale"]
)
def test_a_boolean_is_no_number_in_a_recipe(name):
    for value in (True, False, np.True_):
        with pytest.raises(JobError, match=rf"{name} is .*(True|False)_?, which is a boolean"):
            Recipe.model_validate({"prompt": "a", "seed": 1, name: value})
    with pytest.raises(JobError, match=r"weight is True, which is a boolean"):
        Recipe.model_validate({"prompt": "a", "seed": 1, "mask": {"name": "a.png", "weight": True}})


def test_every_file_is_listed_and_can_be_changed():
    names = tuple(f"{number}.png" for number in range(len(FILE_FIELDS)))
    lists = {name: [{"name": file}] for name, file in zip(FILE_FIELDS[:-3], names[:-3], strict=True)}
    single = {name: {"name": file} for name, file in zip(FILE_FIELDS[-3:], names[-3:], strict=True)}
    recipe = Recipe.model_validate({"prompt": "a", "seed": 1, **lists, **single})
    assert tuple(file.name for file in recipe.files()) == names
    moved = recipe.map_files(lambda file: file.model_copy(update={"name": f"x/{file.name}"}))
    assert tuple(file.name for file in moved.files()) == tuple(f"x/{name}" for name in names)


@pytest.mark.parametrize(
    ("fields", "message", "field"),
    [
        ({"mask": 5}, "mask is 5, should be a valid dictionary", "mask"),
        ({"adapter": ["a"]}, "adapter is ['a'], should be a valid dictionary", "adapter"),
        ({"vae": {}}, "vae.name is missing", "vae"),
        ({"references": [{"name": "a"}, {"name": ""}]}, "references.1.name is '', should have", "references"),
        ({"references": [{"name": "a", "wieght": 2}]}, "no field references.0.wieght (perhaps weight)", "references"),
        ({"loras": [{"name": "a", "weight": 99}]}, "loras.0.weight is 99, should be less than", "loras"),
    ],
)
def test_a_fault_in_an_entry_is_described_with_its_field(fields, message, field):
    with pytest.raises(JobError) as caught:
        Recipe.model_validate({"prompt": "a", "seed": 1, **fields})
    assert str(caught.value).startswith("Recipe is invalid: ")
    assert message in str(caught.value)
    assert tuple(caught.value.fields) == (field,)


def test_fields_of_files_and_of_a_style_are_fields_of_a_recipe():
    assert set(FILE_FIELDS) | set(STYLE_FIELDS) <= set(Recipe.model_fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "a \ud83d b"}, r"prompt is 'a \\ud83d b', which has half a surrogate pair"),
        ({"blocks": "\ud800"}, r"blocks is '\\ud800', which has half a surrogate pair"),
        ({"blocks": {"\ud800": 1.0}}, r"the name '\\ud800' has half a surrogate pair"),
        ({"content": ["a", "\udc80"]}, r"content.1 is '\\udc80', which has half a surrogate pair"),
        ({"versions": {"torch": "\ud800"}}, r"versions.torch is '\\ud800'"),
        ({"scheduler": "a\0"}, r"scheduler is 'a\\x00', which has a NUL character"),
        ({"references": [{"name": "a\0.png"}]}, r"references.0.name is 'a\\x00.png', which has a NUL character"),
        ({"prompt": "x" * 100_001}, r"prompt is 'x+\.\.\.x+', should have at most 100000 characters"),
        ({"mask": {"name": "x" * 256}}, r"name is 'x+\.\.\.x+', is too long for a file: a name has at most 255 bytes"),
        ({"model": "a/" * 2100}, r"model is .*, is too long for a file: .* a path 4095"),
        ({"adapter": "é" * 128}, r"adapter is .*, is too long for a file"),
        ({"image_encoder": "x" * 256}, r"image_encoder is .*, is too long for a file"),
        ({"content": ["x"] * 10_001}, r"content has too many values"),
        (
            {"guidance_scale": 10**400},
            r"guidance_scale is an integer of about 398 digits, which has more than 64 bits",
        ),
        ({"seed": -(10**5000)}, r"seed is an integer of about 4983 digits, which has more than 64 bits"),
        ({"content": [1] * 100}, r"content.9 is 1, should be a valid string; and 90 more"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_that_no_file_can_hold_is_refused_in_a_short_line(changes, message):
    fields = {**WHOLE, **changes}
    for build in (lambda: Recipe.model_validate(fields), lambda: Recipe(**fields)):  # pyright: ignore[reportArgumentType]
        with pytest.raises(JobError, match=message) as caught:
            build()
        assert len(str(caught.value)) < 1000


def test_the_longest_prompt_round_trips_through_json():
    recipe = Recipe(prompt="🚀" * 100_000, seed=0)
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("text", ["[" * 990, "[" * 10**6, '{"prompt": "a", "seed": ' + "1" * 5000 + "}"])
def test_json_beyond_the_limits_is_refused_in_a_short_line(text):
    with pytest.raises(JobError, match="The recipe cannot be read: it") as caught:
        Recipe.from_json(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks": {"style": -1}}, "blocks.style is -1, should be greater than or equal to 0."),
        ({"blocks": [3]}, "blocks.0 is 3, should be a valid string."),
        (
            {"second_blocks": {"all": 11, "style": "x"}},
            "second_blocks.all is 11, should be less than or equal to 10; ",
        ),
        ({"blocks": 3}, "blocks is 3, should be a valid string or a valid tuple or a valid dictionary."),
        ({"content_scale": 20.0}, "content_scale is 20.0, should be less than or equal to 10."),
        ({"guidance_interval": [0.5]}, "guidance_interval is [0.5], should be two numbers, such as 0.2 and 0.8."),
    ],
)
def test_a_value_that_fits_no_alternative_is_described_once_at_its_place(fields, message):
    with pytest.raises(JobError) as refusal:
        Recipe.model_validate({"prompt": "a", "seed": 1, **fields})
    assert str(refusal.value).startswith(f"Recipe is invalid: {message}")


def test_a_typo_in_a_word_is_answered_with_the_nearest_one():
    for field, wrong, near in (
        ("removal", "claen", "clean"),
        ("combine", "avrage", "average"),
        ("crop", "centre", "center"),
        ("fuse", "adian", "adain"),
        ("shared", "swop", "swap"),
    ):
        with pytest.raises(JobError, match=rf"{field} is '{wrong}', should be .* \(perhaps {near}\)"):
            Recipe.model_validate({"prompt": "a", "seed": 0, field: wrong})
    with pytest.raises(JobError, match=r"'adain'\.$"):
        Recipe.model_validate({"prompt": "a", "seed": 0, "fuse": "x"})


def test_the_place_of_a_lora_is_where_it_acts_and_nothing_where_it_is_merged():
    for fields, place in (
        ({}, ""),
        ({"blocks": "style"}, " in style"),
        ({"blocks": {"style": 0.5}, "positive_only": True}, ' in {"style": 0.5} (positive only)'),
    ):
        assert Lora.model_validate({"name": "a.safetensors", **fields}).place == place
