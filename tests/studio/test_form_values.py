"""Conversion of the page's values to a recipe."""

from dataclasses import replace

import pytest

from instantstyle import BlockError, ImageError, JobError, StyleError
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Reference
from instantstyle.studio.form_values import (
    MIX,
    RESTORED,
    RESTORED_BLOCKS,
    SAVED,
    FormValues,
    build_recipe,
)
from instantstyle.studio.image_store import strip_paths


@pytest.fixture
def build(settings, store):
    """Build the recipe of a page with these values."""
    return lambda **values: build_recipe(FormValues(**values), settings, store)


def test_an_unchanged_page_gives_the_default_recipe_of_its_prompt(build):
    recipe = build(prompt="a rocket")
    assert recipe == Recipe(prompt="a rocket", seed=recipe.seed, model="small")


def test_every_field_reaches_the_recipe(build, uploaded):
    same = {
        "prompt": "a rocket",
        "scale": 0.6,
        "crop": "pad",
        "start": 0.1,
        "end": 0.9,
        "fuse": "adain",
        "hold_layout": 0.4,
        "negative_prompt": "blurred",
    }
    numbers = {"guidance_scale": 3.5, "width": 16, "height": 24, "num_inference_steps": 2}
    others = {"content": ["a cat", "a mat"], "content_scale": "0.7", "removal": "project", "blocks": "layout"}
    typed = {name: f" {number}" for name, number in numbers.items()}
    recipe = build(image=uploaded, **same, **others, **typed, seed="9007199254740993", locked=True)
    assert {name: getattr(recipe, name) for name in {**same, **numbers}} == {**same, **numbers}
    assert (recipe.content, recipe.content_scale, recipe.removal) == (("a cat", "a mat"), 0.7, "project")
    assert (recipe.blocks, recipe.seed) == ("layout", 2**53 + 1)


def test_empty_components_keep_the_defaults():
    default = FormValues()
    values = [None if value in ("", ()) else value for value in vars(default).values()]
    assert FormValues.from_components(values) == default


def test_an_image_is_stored_by_its_sha256(build, uploaded, store):
    [reference] = build(image=uploaded).references
    assert store.find_reference(reference) is not None
    assert strip_paths(build(image=uploaded)).references[0].name == "ink.png"


def test_a_seed_that_is_not_locked_is_random(build):
    assert build(seed="7").seed != build(seed="7").seed
    assert build(seed="7", locked=True).seed == 7


def test_a_locked_seed_must_be_a_number(build):
    with pytest.raises(JobError, match="The locked seed is 'seven'; it must be a whole number"):
        build(seed="seven", locked=True)


def test_a_text_that_is_no_number_is_refused(build):
    with pytest.raises(JobError, match="num_inference_steps is 'many', should be a valid integer"):
        build(num_inference_steps="many")


def test_a_saved_style_keeps_its_name_in_the_library(build, save_style):
    recipe = build(source=SAVED, saved=save_style("ink"))
    assert strip_paths(recipe).references[0].name == "ink"


def test_the_error_for_an_unknown_style_lists_the_known_ones(build, save_style):
    save_style("ink")
    with pytest.raises(StyleError, match="it has ink"):
        build(source=SAVED, saved="../ink")


def test_the_slider_weights_two_styles(build, save_style):
    first, second = save_style("ink"), save_style("neon", content="a cat")
    recipe = build(source=MIX, first=first, second=second, share=0.3)
    assert [reference.weight for reference in recipe.references] == [0.7, 0.3]


@pytest.mark.parametrize("values", [{"source": SAVED}, {"source": MIX, "first": "ink"}])
def test_a_source_without_a_selected_style_is_refused(build, values):
    with pytest.raises(JobError, match="select"):
        build(**values)


def test_content_without_a_reference_is_left_out(build):
    assert build(content=["a cat"], content_scale="auto").content == ()


def test_the_error_for_a_damaged_image_contains_its_original_name(build, tmp_path):
    (tmp_path / "blob").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"^ink\.png is not an image in a supported format"):
        build(image={"path": str(tmp_path / "blob"), "orig_name": "../../ink.png"})


@pytest.mark.parametrize("blocks", ["probe.json", "/etc/passwd", "style+a.json", "", RESTORED_BLOCKS])
def test_blocks_open_no_file(build, uploaded, blocks):
    """Without a reference they are left out, as they have no effect."""
    with pytest.raises(BlockError, match="blocks cannot be"):
        build(image=uploaded, blocks=blocks)
    assert build(blocks=blocks).blocks == "style"


def test_the_content_scale_is_a_number_or_auto(build, uploaded):
    assert build(image=uploaded, content=["a cat"], content_scale=" auto ").content_scale == "auto"
    with pytest.raises(JobError, match="cannot be 'much'; it is a number, or auto"):
        build(image=uploaded, content_scale="much")


def test_settings_without_a_field_come_from_the_restored_recipe(build, uploaded):
    reference = build(image=uploaded).references[0]
    restored = Recipe(
        prompt="",
        seed=0,
        references=(reference, reference),
        combine="concat",
        blocks={"style": 0.5},
        guidance_interval=(0.2, 0.8),
    )
    recipe = build(source=RESTORED, blocks=RESTORED_BLOCKS, restored_recipe=restored.to_json())
    for name in ("references", "combine", "blocks", "guidance_interval"):
        assert getattr(recipe, name) == getattr(restored, name)


def test_an_image_of_a_set_stays_in_it_while_its_recipe_is_restored(build):
    restored = Recipe(prompt="a", seed=8, shared="align", first_prompt="b", first_seed=7)
    recipe = build(prompt="c", restored_recipe=restored.to_json())
    assert (recipe.prompt, recipe.shared, recipe.first_prompt, recipe.first_seed) == ("c", "align", "b", 7)
    assert build(prompt="c").shared is None


def test_an_image_of_the_content_and_the_quantile_of_its_mask_reach_the_recipe(build, uploaded):
    recipe = build(image=uploaded, content_image=uploaded, removal="mask", mask_quantile=" 0.9 ")
    assert recipe.content_references == recipe.references
    assert (recipe.removal, recipe.mask_quantile) == ("mask", 0.9)
    # With another removal the page hides the quantile.
    assert build(image=uploaded, content=["a cat"], removal="project", mask_quantile="0.9").mask_quantile is None
    assert not build(content_image=uploaded, removal="mask", mask_quantile="0.9").content_references
    with pytest.raises(JobError, match=r"mask_quantile is '1\.5'"):
        build(image=uploaded, content_image=uploaded, removal="mask", mask_quantile="1.5")


def test_the_colour_transfer_and_its_steps_reach_the_recipe(build, uploaded):
    made = [
        build(image=uploaded, colour_transfer=transfer, colour_transfer_start=start, colour_transfer_end=end)
        for transfer, start, end in ((" 0.5 ", "", ""), ("0.5", "0.1", ""), ("0.5", "", " 0.6"), ("", "0.1", "0.6"))
    ]
    fields = [(recipe.colour_transfer, recipe.colour_transfer_interval) for recipe in made]
    assert fields == [(0.5, None), (0.5, (0.1, 0.3)), (0.5, (0.2, 0.6)), (None, None)]
    assert build(colour_transfer="0.5").colour_transfer is None
    with pytest.raises(JobError, match="colour_transfer is 'much'"):
        build(image=uploaded, colour_transfer="much")


def test_a_texture_and_its_scales_reach_the_recipe(build, uploaded):
    recipe = build(image=uploaded, texture=uploaded, colour_scale=" 0.9 ", texture_scale="0.5")
    assert recipe.texture_references == recipe.references
    assert (recipe.colour_scale, recipe.texture_scale) == (0.9, 0.5)
    assert not build(texture=uploaded, colour_scale="0.9").texture_references


def test_a_photo_has_the_settings_that_keep_its_content(build, uploaded):
    recipe = build(image=uploaded, photo=uploaded, prompt="a rocket")
    fields = (recipe.inversion, recipe.image_scale, recipe.strength, recipe.control, recipe.scheduler)
    assert fields == (3, 0.2, None, "none", "ddim")
    assert recipe.image == recipe.references[0]
    assert build(photo=uploaded, image_scale=" 0 ").image_scale == 0
    # What excludes an inversion belongs to the image that was restored.
    shared = Recipe(prompt="a", seed=8, shared="align", first_prompt="b", first_seed=7, scheduler="euler")
    recipe = build(photo=uploaded, restored_recipe=shared.to_json())
    assert (recipe.shared, recipe.scheduler) == (None, "ddim")
    with pytest.raises(JobError, match="image_scale is 'much'"):
        build(photo=uploaded, image_scale="much")


def test_the_settings_of_a_second_adapter_reach_the_recipe(settings, store, uploaded):
    second = replace(settings, second_adapter=Reference(name="plus.safetensors"))
    values = FormValues(image=uploaded, second_scale=0.4, second_blocks="layout")
    recipe = build_recipe(values, second, store)
    assert (recipe.second_scale, recipe.second_blocks) == (0.4, "layout")
    # The page shows them with a second adapter alone.
    assert build_recipe(values, settings, store).second_blocks == "all"
    with pytest.raises(BlockError, match=r"second_blocks cannot be 'probe\.json' here"):
        build_recipe(replace(values, second_blocks="probe.json"), second, store)
