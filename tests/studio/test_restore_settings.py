"""Conversion of a recipe to the page's values, and back to the same recipe."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Lora, Reference
from instantstyle.studio.form_values import IMAGE, MIX, RESTORED, SAVED, FormValues, build_recipe
from instantstyle.studio.image_store import strip_paths
from instantstyle.studio.restore_settings import restore_form
from instantstyle.studio.settings import Settings


@pytest.fixture
def restore(settings, store):
    return lambda recipe: restore_form(recipe, settings, store)


@pytest.fixture
def assert_round_trip(settings, store, restore):
    """Assert that the values restored from a recipe without paths give that recipe again."""

    def check(values: FormValues, source: str) -> None:
        recipe = build_recipe(values, settings, store)
        restored = restore(strip_paths(recipe))
        assert restored.values.source == source
        assert restored.remarks == ()
        assert build_recipe(restored.values, settings, store) == recipe

    return check


VALUES: dict[str, Any] = {
    "prompt": "a rocket",
    "scale": 0.6,
    "blocks": "all",
    "seed": "7",
    "locked": True,
    "start": 0.2,
    "fuse": "adain",
    "hold_layout": 0.4,
}


def test_no_reference_is_restored(assert_round_trip):
    values = FormValues(**VALUES, negative_prompt="blurred", width="16", guidance_scale="3.5")
    assert_round_trip(values, IMAGE)


def test_an_image_and_its_content_are_restored(assert_round_trip, uploaded):
    content = {"content": ("a cat",), "content_scale": "0.7", "removal": "project"}
    assert_round_trip(FormValues(**VALUES, image=uploaded, **content), IMAGE)


def test_a_saved_style_is_restored(assert_round_trip, save_style):
    assert_round_trip(FormValues(**VALUES, source=SAVED, saved=save_style("ink")), SAVED)


def test_a_mix_of_two_styles_is_restored(assert_round_trip, save_style):
    first, second = save_style("ink"), save_style("neon", content="a cat")
    assert_round_trip(FormValues(**VALUES, source=MIX, first=first, second=second, share=0.3), MIX)


def test_settings_without_a_field_are_restored(assert_round_trip, uploaded, settings, store):
    reference = build_recipe(FormValues(image=uploaded), settings, store).references[0]
    recipe = Recipe(
        prompt="",
        seed=0,
        references=(reference, reference),
        combine="concat",
        layout_references=(reference,),
        mask=reference,
    )
    assert_round_trip(FormValues(**VALUES, source=RESTORED, restored_recipe=recipe.to_json()), RESTORED)


@pytest.mark.parametrize("with_lora", [False, True])
def test_settings_that_need_no_reference_are_restored_without_one(uploaded, settings, store, with_lora: bool):
    picture = build_recipe(FormValues(image=uploaded), settings, store).references[0]
    lora = Lora(name="ink.safetensors", sha256="0" * 64, blocks="style")
    acting: dict[str, Any] = {"start": 0.2, "end": 0.8, "hold_layout": 0.4, "mask": picture}
    others: dict[str, Any] = {"guidance_interval": (0.0, 0.3), "scheduler": "EulerDiscreteScheduler"}
    if with_lora:
        settings, own = replace(settings, loras=(lora,)), {"loras": (lora,), **acting}
    else:
        own = {"layout_references": (picture,), "scale": 0.6, **acting}
    recipe = Recipe(prompt="a", seed=7, model=settings.model, **own, **others)
    restored = restore_form(recipe, settings, store)
    assert restored.remarks == ()
    assert build_recipe(restored.values, settings, store) == recipe


def test_another_dtype_gives_a_remark(restore):
    [remark] = restore(Recipe(prompt="", seed=7, model="small", dtype="float64")).remarks
    assert remark == "It was generated in float64; here the model is loaded in float32."


def test_another_file_of_a_model_gives_a_remark(settings, store, tmp_path):
    path = tmp_path / "flux1-dev.safetensors"
    path.write_bytes(b"weights")
    own = replace(settings, model=str(path))
    digest = sha256(b"weights").hexdigest()
    other = f"flux1-dev.safetensors ({'0' * 12}…)"
    ours = f"flux1-dev.safetensors ({digest[:12]}…)"

    def list_remarks(settings: Settings, **fields: object) -> tuple[str, ...]:
        recipe = Recipe.model_validate({"prompt": "", "seed": 7, **fields})
        return restore_form(recipe, settings, store).remarks

    assert list_remarks(own, model="/home/ada/flux1-dev.safetensors", model_sha256=digest) == ()
    for model in (str(path), "/home/ada/flux1-dev.safetensors"):
        assert list_remarks(own, model=model, model_sha256="0" * 64) == (f"Its model was {other}; here it is {ours}.",)
    assert list_remarks(own, model="mini") == (f"Its model was mini; here it is {ours}.",)
    [remark] = list_remarks(settings, model="small", model_sha256=digest)
    assert remark == f"Its model was small ({digest[:12]}…); here it is small."
    path.unlink()
    assert list_remarks(own, model=str(path), model_sha256=digest) == (f"Its model was {ours}; here it is {path}.",)


def test_a_missing_reference_gives_a_remark_and_all_else_is_restored(restore):
    missing = Reference(name="/home/ada/ink.png", sha256="0" * 64)
    recipe = Recipe(prompt="a rocket", seed=7, references=(missing,), content=("a cat",), scale=0.6, model="small")
    restored = restore(recipe)
    assert restored.remarks == ("ink.png is not among the stored references; drop it as the reference.",)
    assert (restored.values.prompt, restored.values.scale) == ("a rocket", 0.6)
    assert (restored.values.content, restored.values.image) == (("a cat",), None)


@pytest.mark.parametrize(
    ("field", "advice"),
    [
        ("texture_references", "drop it as the image of the texture"),
        ("content_references", "drop it as the image of the content"),
        ("layout_references", "the page has no field for it: it is left out"),
        ("mask", "the page has no field for it: it is left out"),
        ("colour_image", "the page has no field for it: it is left out"),
    ],
)
def test_a_remark_says_where_a_missing_file_belongs(restore, store, settings, uploaded, field, advice):
    recipe = build_recipe(FormValues(**VALUES, image=uploaded, colour_transfer="0.5"), settings, store)
    missing = Reference(name="/home/ada/other.png", sha256="0" * 64)
    lost = restore(recipe.replace(**{field: (missing,) if field.endswith("references") else missing}))
    assert lost.remarks == (f"other.png is not among the stored references; {advice}.",)
    # Without its own image, the transfer would take the colours of the reference.
    kept = build_recipe(lost.values, settings, store)
    assert kept.colour_transfer == (None if field == "colour_image" else 0.5)


def test_the_image_of_a_colour_transfer_is_kept(restore, store, settings, uploaded):
    recipe = build_recipe(FormValues(**VALUES, image=uploaded, colour_transfer="0.5"), settings, store)
    recipe = recipe.replace(colour_image=recipe.references[0], references=())
    for fields in (recipe, recipe.replace(references=(recipe.colour_image,) * 2)):
        restored = restore(strip_paths(fields)).values
        assert build_recipe(restored, settings, store).colour_image == recipe.colour_image
        assert build_recipe(restored, settings, store).colour_transfer == 0.5


def test_a_name_in_a_recipe_opens_no_file(restore, uploaded):
    restored = restore(Recipe(prompt="", seed=7, references=(Reference(name=uploaded["path"]),), model="small"))
    assert restored.values.image is None


def test_an_image_of_a_set_gives_a_remark(restore):
    recipe = Recipe(prompt="a", seed=8, model="small", shared="align", first_prompt="b", first_seed=7)
    [remark] = restore(recipe).remarks
    assert "shares attention with the image of 'b', seed 7" in remark


def test_another_model_gives_a_remark(restore):
    remarks = restore(Recipe(prompt="", seed=7, model="sdxl")).remarks
    assert remarks == ("Its model was sdxl; here it is small.",)
    [remark] = restore(Recipe(prompt="", seed=7, model="small", adapter=Reference(name="sdxl-plus"))).remarks
    assert remark == "Its adapter was sdxl-plus; here it is the default."
    file = Reference(name="/home/ada/mine.bin", sha256="0" * 64)
    [remark] = restore(Recipe(prompt="", seed=7, model="small", adapter=file)).remarks
    assert remark == f"Its adapter was mine.bin ({'0' * 12}…); here it is the default."


def test_the_image_of_image_to_image_gives_one_remark(restore):
    image = Reference(name="/home/ada/photo.png", sha256="0" * 64)
    restored = restore(Recipe(prompt="", seed=7, image=image, strength=0.5, model="small"))
    remark = "It was generated from the image photo.png with noise, which the studio cannot do; it can keep a photo."
    assert restored.remarks == (remark,)
    assert "photo.png" not in restored.values.restored_recipe


def test_a_photo_whose_content_is_kept_is_restored(assert_round_trip, uploaded, settings, store, restore):
    values = FormValues(**VALUES, image=uploaded, photo=uploaded, image_scale="0.4")
    assert_round_trip(values, IMAGE)
    recipe = strip_paths(build_recipe(values, settings, store))
    commands = recipe.replace(inversion=5, image_scale=None)
    again = build_recipe(restore(commands).values, settings, store)
    assert (again.inversion, again.image_scale) == (5, 0)
    [remark] = restore(recipe.replace(control="tile")).remarks
    assert remark == "It was generated with a ControlNet, tile; the studio generates without."
    lost = restore(recipe.replace(image=Reference(name="/home/ada/photo.png", sha256="0" * 64)))
    assert lost.remarks == ("photo.png is not among the stored references; drop it as the photo.",)
    assert build_recipe(lost.values, settings, store).inversion is None


def test_the_settings_of_a_second_adapter_are_restored(assert_round_trip, uploaded, settings, store):
    settings = replace(settings, second_adapter=Reference(name="plus.safetensors", sha256="1" * 64))
    recipe = build_recipe(FormValues(**VALUES, image=uploaded, second_scale=0.4), settings, store)
    for blocks in ("layout", {"layout": 0.5}):
        own = recipe.replace(second_blocks=blocks)
        restored = restore_form(strip_paths(own), settings, store)
        assert restored.remarks == ()
        assert build_recipe(restored.values, settings, store) == own


def test_a_texture_is_restored_and_can_be_removed(assert_round_trip, uploaded, settings, store, restore):
    values = FormValues(**VALUES, image=uploaded, texture=uploaded, colour_scale="0.9", texture_scale="0.5")
    assert_round_trip(values, IMAGE)
    recipe = build_recipe(values, settings, store)
    restored = restore(strip_paths(recipe)).values
    assert not build_recipe(replace(restored, texture=None), settings, store).texture_references
    # The page shows one texture; others stay those of the recipe.
    masked = recipe.replace(content=("a cat",), removal="mask", mask_quantile=0.9)
    both = masked.replace(texture_references=recipe.texture_references * 2)
    kept = build_recipe(restore(strip_paths(both)).values, settings, store)
    assert kept == both


def test_an_image_of_the_content_is_restored_and_can_be_removed(assert_round_trip, uploaded, settings, store, restore):
    removal: dict[str, Any] = {"content_scale": "0.7", "removal": "mask", "mask_quantile": "0.9"}
    values = FormValues(**VALUES, image=uploaded, content_image=uploaded, **removal)
    assert_round_trip(values, IMAGE)
    recipe = build_recipe(values, settings, store)
    restored = restore(strip_paths(recipe)).values
    assert not build_recipe(replace(restored, content_image=None), settings, store).content_references
    several = recipe.replace(content_references=recipe.content_references * 2)
    assert build_recipe(restore(strip_paths(several)).values, settings, store) == several


def test_the_colour_transfer_is_restored_and_dropped_with_the_reference(assert_round_trip, uploaded, restore):
    transfer: dict[str, Any] = {"colour_transfer": "0.5", "colour_transfer_start": "0.1", "colour_transfer_end": "0.6"}
    assert_round_trip(FormValues(**VALUES, image=uploaded, **transfer), IMAGE)
    assert_round_trip(FormValues(**VALUES, image=uploaded, colour_transfer="0.5"), IMAGE)
    missing = Reference(name="ink.png", sha256="0" * 64)
    recipe = Recipe(prompt="", seed=7, references=(missing,), colour_transfer=0.5, colour_transfer_interval=(0.1, 0.6))
    kept = Recipe.from_json(restore(recipe).values.restored_recipe)
    assert (kept.colour_transfer, kept.colour_transfer_interval) == (None, None)
