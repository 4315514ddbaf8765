"""A request is validated before a model is loaded: its files, its blocks, and options without effect."""

import sys
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from instantstyle import Style, StyleError
from instantstyle.errors import BlockError, ImageError, JobError, MissingExtra, ModelError
from instantstyle.generation.load import load_for
from instantstyle.generation.request_checks import check_request
from instantstyle.generation.validate import validate, validate_blocks, validate_inputs
from instantstyle.recipe import Recipe

PLAIN = Recipe(prompt="a", seed=1)


@pytest.fixture(autouse=True)
def ink(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("ink.png")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("references", [{"name": "nowhere.png"}]),
        ("layout_references", [{"name": "nowhere.png"}]),
        ("negative_references", [{"name": "nowhere.png"}]),
        ("mask", {"name": "nowhere.png"}),
        ("image", {"name": "nowhere.png"}),
    ],
)
def test_every_file_is_read(field, value):
    recipe = Recipe.model_validate({**PLAIN.model_dump(), "references": [{"name": "ink.png"}], field: value})
    with pytest.raises(ImageError, match=r"nowhere\.png does not exist"):
        validate(recipe)


def test_content_without_a_reference_is_accepted_only_beside_a_cell_with_one_or_in_an_existing_recipe():
    without = PLAIN.replace(content=("a cat",))
    with pytest.raises(JobError, match="content can only act on the style of a reference"):
        validate(without, PLAIN)
    validate(without, PLAIN.replace(references=[{"name": "ink.png"}]))
    validate_inputs(without)


def test_blocks_are_looked_up_if_the_model_is_an_architecture():
    validate_blocks("stile", "some/model")
    with pytest.raises(BlockError, match="Did you mean style"):
        validate_blocks("stile", "sdxl")
    with pytest.raises(BlockError, match="Did you mean style"):
        validate(PLAIN.replace(blocks="stile", model="mini", references=[{"name": "ink.png"}]))


def test_a_controlnet_that_the_family_of_the_model_has_not_is_refused_before_loading():
    restyled = PLAIN.replace(image={"name": "ink.png"}, strength=0.9)
    alone = "leave control at none, where the pixels of the image to"
    for control, model, instead in (
        ("tile", "mini", "there is canny"),
        ("tile", "sd15", "there is canny"),
        ("canny", "kolors", alone),
    ):
        with pytest.raises(ModelError, match=f"There is no {control} ControlNet for {model}; {instead}"):
            validate(restyled.replace(control=control, model=model))
    validate(restyled.replace(control="canny"))
    validate(restyled.replace(control="tile", model="sdxl"))
    validate(restyled.replace(control="tile", model="some/model"))


@pytest.mark.parametrize(
    ("package", "fields", "message"),
    [
        ("cv2", {"image": {"name": "ink.png"}, "control": "canny", "model": "sd15"}, r"OpenCV.*\[control\]"),
        ("peft", {"loras": [{"name": "ink.safetensors"}]}, r"Merging ink\.safetensors .* peft,.*\[lora\]"),
        ("scipy", {"scheduler": "lms-karras"}, "'lms-karras' needs the package scipy,.*: pip install scipy"),
        ("scipy", {"scheduler": "LMSDiscreteScheduler"}, "'LMSDiscreteScheduler' needs the package scipy"),
        ("torchsde", {"scheduler": "DPMSolverSDEScheduler"}, "needs the package torchsde.*: pip install torchsde"),
    ],
)
def test_a_package_that_is_not_installed_is_refused_before_loading(monkeypatch, package, fields, message):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("instantstyle.generation.load.load_model", lambda *_, **__: pytest.fail("loaded"))
    recipe = PLAIN.replace(**fields)
    # Images of batches, reproduced images and cells of a sweep; requests; and what another machine has validated.
    for check in (validate_inputs, validate, load_for):
        with pytest.raises(MissingExtra, match=message):
            check(recipe)


def test_packages_that_a_recipe_does_not_need_may_be_missing(monkeypatch):
    for package in ("cv2", "peft", "scipy", "torchsde"):
        monkeypatch.setitem(sys.modules, package, None)
    validate(PLAIN.replace(image={"name": "ink.png"}, control="tile", model="sdxl", scheduler="euler"))
    validate(PLAIN.replace(references=[{"name": "ink.png"}], loras=[{"name": "a.safetensors", "blocks": "style"}]))


def test_a_strength_of_less_than_one_step_is_refused_before_loading():
    restyled = PLAIN.replace(image={"name": "ink.png"})
    for fields, message in (
        ({"strength": 0.2, "num_inference_steps": 4}, "strength 0.2 of 4 steps is less than one step.* at least 0.25"),
        # mini takes 8 steps from an image, and its default strength is 0.95.
        ({"strength": 0.05}, "strength 0.05 of 8 steps"),
        ({"num_inference_steps": 1}, "strength 0.95 of 1 step is less"),
        ({"strength": 0.03, "model": "sdxl"}, "strength 0.03 of 30 steps"),
    ):
        with pytest.raises(JobError, match=message):
            validate(restyled.replace(**fields))
    validate(restyled.replace(strength=0.25, num_inference_steps=4))
    # A service has loaded its model, whose folder may be gone.
    validate(restyled.replace(strength=0.01, model="gone"))
    # No step is taken away by an inversion, and the number of steps of other models is not known.
    validate(restyled.replace(inversion=1, num_inference_steps=1))
    validate(restyled.replace(strength=0.01, model="some/model"))


def test_a_lora_file_without_layers_in_its_blocks_is_refused_before_loading():
    block = "up_blocks.1.attentions.0"
    names = [f"unet.{block}.transformer_blocks.0.attn1.to_q.lora_{letter}.weight" for letter in "AB"]
    save_file({name: torch.ones(1, 1) for name in names}, "ink.safetensors")

    def chosen(blocks: object, **fields: object) -> Recipe:
        return PLAIN.replace(loras=[{"name": "ink.safetensors", "blocks": blocks, **fields}])

    message = rf"ink\.safetensors has no layers in up_blocks\.0\.attentions\.1–2; it has layers in {block}: choose"
    with pytest.raises(StyleError, match=message):
        validate(chosen("style"))
    for blocks in ("all", block, {"style": 1.0, block: 0.5}, f"{block}.transformer_blocks.0"):
        validate(chosen(blocks))
    validate(chosen("style", weight=0))
    validate(chosen("style").replace(model="some/model"))


def test_methods_that_act_in_a_unet_are_refused_for_a_transformer_before_loading():
    ink = {"references": [{"name": "ink.png"}], "blocks": "all"}
    for fields, name in (
        ({**ink, "hold_layout": 0.4}, "hold_layout"),
        ({**ink, "colour_transfer": 0.4}, "colour_transfer"),
        ({"shared": "align", "first_prompt": "a", "first_seed": 0}, "shared"),
        ({"image": {"name": "ink.png"}, "inversion": 1}, "inversion"),
        ({"loras": [{"name": "nowhere.safetensors", "blocks": "all"}]}, "A LoRA with blocks"),
    ):
        recipe = PLAIN.replace(model="flux-dev", **fields)
        with pytest.raises(StyleError, match=f"^{name} acts in the layers of a UNet, and flux-dev has a diffusion tr"):
            validate(recipe)
    with pytest.raises(
        StyleError, match=r"^flux-dev has a diffusion transformer\. LoRA files are merged into UNets only"
    ):
        validate(PLAIN.replace(model="flux-dev", loras=[{"name": "ink.safetensors"}], **ink))
    validate(PLAIN.replace(model="flux-dev", true_cfg_scale=3, **ink))
    with pytest.raises(JobError, match=r"true_cfg_scale is for diffusion transformers .* and sdxl has a UNet"):
        validate(PLAIN.replace(model="sdxl", true_cfg_scale=3))


def test_what_says_how_content_is_removed_needs_content_of_the_recipe_or_of_a_saved_style():
    width = 128  # of mini's encoder
    cat = {"content": ("a",), "content_embeds": torch.ones(1, width)}
    styles: dict[str, dict[str, Any]] = {"plain": {}, "cat": cat, "clean": {"removal": "clean"}}
    for name, fields in styles.items():
        Style(torch.ones(1, width), torch.zeros(width), **fields).save(f"{name}.style.safetensors")
    settings: list[dict[str, object]] = [
        *({"content_scale": 0.9}, {"removal": "project"}, {"removal": "mask", "mask_quantile": 0.5}),
        *({"removal": "subtract"}, {"removal": "clean", "content_scale": 0.9}),
    ]
    refused = [True, True, True, False, False]
    for name, acts in {"ink.png": False, "plain": False, "cat": True, "clean": True}.items():
        file = name if name.endswith(".png") else f"{name}.style.safetensors"
        found: list[bool] = []
        for fields in settings:
            recipe = PLAIN.replace(references=[{"name": file}], **fields)
            validate_inputs(recipe)
            if recipe.removal != "clean":
                validate(recipe, recipe.replace(content=("a",)))
            message = ""
            try:
                validate(recipe)
            except JobError as error:
                message = str(error)
            found.append(message.startswith(f"{' and '.join(fields)} can only act on content to remove"))
        assert found == [each and not acts for each in refused], name


def test_a_weight_that_cannot_act_is_refused():
    heavy, light = {"name": "ink.png", "weight": 5}, {"name": "ink.png"}
    lists = ("references", "texture_references", "layout_references", "negative_references", "second_references")
    cases: list[tuple[dict[str, object], bool]] = [
        *(({name: [heavy]}, False) for name in lists),
        *(({name: [heavy, light]}, True) for name in lists),
        ({"content_references": [heavy, light]}, False),
        *(({name: heavy}, False) for name in ("mask", "image", "vae")),
        ({"references": [heavy, light, light], "combine": "subtract"}, False),
        ({"references": [light, heavy], "combine": "subtract"}, False),
        ({"references": [light, heavy, light], "combine": "subtract"}, True),
        ({"references": [light], "loras": [heavy]}, True),
    ]
    wrong: list[object] = []
    for fields, is_accepted in cases:
        others = {"references": [light], "second_adapter": light, "motion_adapter": None}
        try:
            check_request(PLAIN.replace(**{**others, **fields}))
            found = True
        except JobError as error:
            found = "The weight 5 of ink.png" not in str(error)
        if found != is_accepted:
            wrong.append(fields)
    assert not wrong
    for name in (*lists, "content_references"):
        with pytest.raises(JobError, match=f"{name} need a weight above 0"):
            PLAIN.replace(**{name: [{"name": "ink.png", "weight": 0}]})
