"""From the page to a recipe."""

import pytest

from instantstyle import BlockError, ImageError, JobError, StyleError
from instantstyle.recipe import Recipe
from instantstyle.studio.form_values import AS_RESTORED, MIX, RESTORED, SAVED, FormValues, recipe_for


@pytest.fixture
def asked(settings, keep):
    """The recipe for a page with these fields."""
    return lambda **fields: recipe_for(FormValues(**fields), settings, keep)


def test_an_untouched_page_asks_for_the_plain_picture_of_its_prompt(asked):
    recipe = asked(prompt="a rocket")
    assert recipe == Recipe(prompt="a rocket", seed=recipe.seed, model="small")


def test_every_field_has_its_place_in_the_recipe(asked, sent):
    same = {
        "prompt": "a rocket",
        "scale": 0.6,
        "crop": "pad",
        "start": 0.1,
        "end": 0.9,
        "negative_prompt": "blurred",
    }
    numbers = {"guidance_scale": 3.5, "width": 16, "height": 24, "num_inference_steps": 2}
    how = {"content": ["a cat", "a mat"], "content_scale": "0.7", "removal": "project", "blocks": "layout"}
    typed = {name: f" {number}" for name, number in numbers.items()}
    recipe = asked(picture=sent, **same, **how, **typed, seed="9007199254740993", locked=True)
    assert {name: getattr(recipe, name) for name in {**same, **numbers}} == {**same, **numbers}
    assert (recipe.content, recipe.content_scale, recipe.removal) == (("a cat", "a mat"), 0.7, "project")
    assert (recipe.blocks, recipe.seed) == ("layout", 2**53 + 1)


def test_a_browsers_empty_fields_are_the_models_own_choice(keep, settings):
    untouched = FormValues()
    values = [
        None if getattr(untouched, name) in ("", ()) else getattr(untouched, name) for name in vars(untouched)
    ]
    assert FormValues.of(values) == untouched


def test_a_picture_is_kept_by_what_is_in_it(asked, sent, keep):
    [reference] = asked(picture=sent).references
    assert keep.found(reference) is not None
    assert keep.told(asked(picture=sent)).references[0].name == "ink.png"


def test_a_seed_that_is_not_locked_is_a_new_one(asked):
    assert asked(seed="7").seed != asked(seed="7").seed
    assert asked(seed="7", locked=True).seed == 7


def test_a_locked_seed_must_be_a_number(asked):
    with pytest.raises(JobError, match="The locked seed is 'seven'; it must be a whole number"):
        asked(seed="seven", locked=True)


def test_what_is_no_number_is_told_of(asked):
    with pytest.raises(JobError, match="num_inference_steps is 'many', should be a valid integer"):
        asked(num_inference_steps="many")


def test_a_saved_style_is_named_as_in_the_library(asked, saved, keep):
    recipe = asked(source=SAVED, saved=saved("ink"))
    assert keep.told(recipe).references[0].name == "ink"


def test_an_unknown_style_names_the_known_ones(asked, saved):
    saved("ink")
    with pytest.raises(StyleError, match="it has ink"):
        asked(source=SAVED, saved="../ink")


def test_the_slider_weighs_two_styles(asked, saved):
    recipe = asked(source=MIX, first=saved("ink"), second=saved("neon", content="a cat"), share=0.3)
    assert [reference.weight for reference in recipe.references] == [0.7, 0.3]


@pytest.mark.parametrize("fields", [{"source": SAVED}, {"source": MIX, "first": "ink"}])
def test_what_is_not_picked_is_asked_for(asked, fields):
    with pytest.raises(JobError, match="pick"):
        asked(**fields)


def test_content_without_a_reference_is_left_out(asked):
    assert asked(content=["a cat"], content_scale="auto").content == ()


def test_a_damaged_picture_is_told_by_the_name_that_its_owner_knows(asked, tmp_path):
    (tmp_path / "blob").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"^ink\.png is not a picture we can read"):
        asked(picture={"path": str(tmp_path / "blob"), "orig_name": "../../ink.png"})


@pytest.mark.parametrize("blocks", ["probe.json", "/etc/passwd", "style+a.json", "", AS_RESTORED])
def test_no_file_is_opened_because_the_page_names_it(asked, blocks):
    with pytest.raises(BlockError, match="blocks cannot be"):
        asked(blocks=blocks)


def test_an_amount_is_a_number_or_auto(asked, sent):
    assert asked(picture=sent, content=["a cat"], content_scale=" auto ").content_scale == "auto"
    with pytest.raises(JobError, match="cannot be 'much'; it is a number, or auto"):
        asked(picture=sent, content_scale="much")


def test_what_the_page_has_no_field_for_comes_from_the_restored_recipe(asked, sent, keep):
    one = asked(picture=sent).references[0]
    rest = Recipe(
        prompt="",
        seed=0,
        references=(one, one),
        combine="concat",
        blocks={"style": 0.5},
        guidance_interval=(0.2, 0.8),
    )
    recipe = asked(source=RESTORED, blocks=AS_RESTORED, rest=rest.to_json())
    for name in ("references", "combine", "blocks", "guidance_interval"):
        assert getattr(recipe, name) == getattr(rest, name)
