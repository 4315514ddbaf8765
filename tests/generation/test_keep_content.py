"""Restyling that keeps content: its settings, its recipe, and images that begin with an inversion."""

from copy import copy
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler
from PIL import Image
from torch import nn

from instantstyle import InstantStyle, Inversion, JobError, StyleConditioning
from instantstyle.batch.rows import BatchRow
from instantstyle.generation.generate import generate, prepare
from instantstyle.generation.keep_content import fill_in, fill_in_start
from instantstyle.generation.load import load_for
from instantstyle.generation.request_checks import check_request
from instantstyle.imaging.control_image import default_strength
from instantstyle.imaging.loading import file_sha256
from instantstyle.models.image_to_image import image_to_image_pipeline, text_to_image_pipeline
from instantstyle.models.schedulers import use_scheduler
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Reference

from ..conftest import make_pipe

OPEN = {"model": "mini", "strength": None, "control": None, "inversion": None, "image_scale": None, "scale": None}


@pytest.fixture(scope="module")
def styled(tokenizer_folder, state, image_encoder) -> InstantStyle:
    return InstantStyle(make_pipe(tokenizer_folder), adapter=state, image_encoder=image_encoder)


@pytest.fixture
def files(tmp_path, monkeypatch, reference) -> dict[str, Reference]:
    """Two images in the working directory."""
    monkeypatch.chdir(tmp_path)
    reference.save("ink.png")
    reference.transpose(Image.Transpose.ROTATE_180).save("warm.png")
    return {path.stem: Reference(name=path.name, sha256=file_sha256(path)) for path in Path().glob("*.png")}


def make(**fields: object) -> Recipe:
    return Recipe.model_validate({"prompt": "a", "seed": 7, "num_inference_steps": 2, **fields})


def draw(styled: InstantStyle, recipe: Recipe) -> tuple[Image.Image, Recipe]:
    [found] = generate(styled, recipe)
    return found


def test_each_part_has_the_setting_of_the_paper_and_can_be_left_out():
    kept = {"inversion": 3, "image_scale": 0.2, "scale": 1.2, "control": "none", "strength": None}
    expected = {
        (): kept,
        ("inversion",): {**kept, "inversion": 0, "strength": 0.95},
        ("image_scale",): {**kept, "image_scale": 0},
        ("scale",): {**kept, "scale": 0},
    }
    for left_out, fields in expected.items():
        found = fill_in({**OPEN, **dict.fromkeys(left_out, 0)}, True)
        assert {name: found[name] for name in kept} == fields, left_out
    plain = fill_in(OPEN, False)
    assert (plain["strength"], plain["control"], plain["inversion"], plain["scale"]) == (0.95, "none", None, None)
    assert fill_in({**OPEN, "model": "sdxl"}, True)["control"] == "tile"
    assert fill_in({**OPEN, "model": "sd15"}, True)["control"] == "canny"
    assert fill_in({**OPEN, "model": "sdxl", "control": "none"}, True)["control"] == "none"


def test_the_recipe_of_an_image_records_the_strength_that_the_request_leaves_open(styled, files):
    asked = make(image=files["ink"], model="sdxl", num_inference_steps=3)
    model = image_to_image_pipeline(styled)
    image, recipe = draw(model, asked)
    assert recipe.strength == default_strength("sdxl") == 0.6
    assert image == draw(model, asked.replace(strength=0.6))[0]
    assert BatchRow(asked).key_of_image(recipe) == BatchRow(asked).key
    assert fill_in_start(asked.replace(inversion=1)).strength is None


def test_what_an_inversion_cannot_have_is_refused():
    image = {"name": "photo.png"}
    for fields, message in (
        ({"strength": 0.5}, "strength cannot act on an image that begins with an inversion"),
        ({"shared": "align"}, "shared cannot act on an image that begins with an inversion"),
        ({"scheduler": "euler"}, "an inversion is drawn by DDIM, and scheduler is 'euler'"),
    ):
        with pytest.raises(JobError, match=message):
            make(image=image, inversion=2, **fields)
    assert make(image=image, inversion=0, strength=0.5, scheduler="euler").inversion == 0
    with pytest.raises(JobError, match="inversion and image_scale can only act on an image to start from"):
        check_request(make(inversion=2, image_scale=0.2))
    two = [make(image=image, inversion=1, seed=seed) for seed in (1, 2)]
    check_request(two[0], two[1].replace(inversion=2))
    with pytest.raises(JobError, match="does not depend on its seed, so that several seeds give equal images"):
        check_request(*two)
    with pytest.raises(JobError, match="does not depend on its seed, so that all 2 would be equal"):
        next(iter(generate(None, make(image=image, inversion=2), count=2)))  # pyright: ignore


def test_an_image_that_begins_with_its_inversion_is_reproduced_by_its_recipe(styled, files):
    fields = {"image": files["ink"], "references": (files["warm"],), "scale": 1.2}
    image, recipe = draw(styled, make(**fields, inversion=2, image_scale=0.2))
    assert (recipe.inversion, recipe.image_scale, recipe.scheduler) == (2, 0.2, "ddim")
    assert draw(styled, recipe)[0] == image
    # The seed has no effect; each part has one.
    assert draw(styled, recipe.replace(seed=9))[0] == image
    for change in ({"inversion": 1}, {"image_scale": None}, {"prompt": "b"}, {"scale": 0.0}):
        assert draw(styled, recipe.replace(**change))[0] != image, change
    picture = prepare(styled, recipe).image_arguments["inversion"]
    assert picture.size == (image.width, image.height)


@pytest.fixture
def named(styled) -> InstantStyle:
    """The same model with DDIM, and with a name by which recipes load it."""
    pipe = copy(styled.pipe)
    settings: Any = {"clip_sample": False}
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, **settings)
    builder = styled.builder
    return InstantStyle(
        pipe,
        adapter=builder.adapter.checkpoint,
        image_encoder=builder.require_reference_encoder().encoder,
        recipe_fields={"model": "small"},
    )


def test_a_call_in_python_that_begins_with_an_inversion_has_a_recipe_also_from_its_file(named, files):
    inversion = named.invert("ink.png", "a", steps=2, iterations=2, width=64, height=64, crop="squash")
    inversion.save("inversion.safetensors")
    for each in (inversion, Inversion.load("inversion.safetensors")):
        output = named("a", style="warm.png", scale=1.2, inversion=each, seed=None)
        recipe = output.recipe()
        assert (recipe.image, recipe.inversion, recipe.num_inference_steps) == (files["ink"], 2, 2)
        assert draw(named, recipe)[0] == output.images[0]


def test_inversions_that_a_recipe_would_not_find_again_are_named(named, files):
    others: dict[str, dict[str, Any]] = {
        "without a file, cropped": {"image": Image.open("ink.png")},
        "cropped, or with further": {"image": "ink.png", "width": 64, "height": 128},
        "another prompt than that of the image": {"image": "ink.png", "prompt": "b"},
        "an inversion with guidance": {"image": "ink.png", "guidance_scale": 2.0},
        "more than 50 iterations": {"image": "ink.png", "iterations": 51},
    }
    for message, given in others.items():
        settings = {"prompt": "a", "steps": 1, "iterations": 1, **given}
        inversion = named.invert(settings.pop("image"), settings.pop("prompt"), **settings)
        with pytest.raises(JobError, match=message):
            named("a", inversion=inversion).recipe()


def test_the_colours_of_a_reference_are_given_to_an_image_that_begins_with_its_inversion(styled, files):
    fields = {"image": files["ink"], "references": (files["warm"],), "inversion": 1}
    image, recipe = draw(styled, make(**fields, colour_transfer=1.0, colour_transfer_interval=(0.0, 1.0)))
    assert image != draw(styled, make(**fields))[0]
    assert draw(styled, recipe)[0] == image


def test_it_is_what_the_call_generates_from_the_same_inversion(styled, files):
    recipe = make(image=files["ink"], references=(files["warm"],), inversion=2, image_scale=0.2, scale=1.2)
    prepared = prepare(styled, recipe)
    picture = prepared.image_arguments["inversion"]
    with use_scheduler(styled.pipe, "ddim"):
        inversion = styled.invert(picture, "a", steps=2, iterations=2)
        ink, photo = styled.style("warm.png"), styled.style("ink.png")
        style = [StyleConditioning(ink, "style", 1.2), StyleConditioning(photo, "all", 0.2)]
        expected = styled("a", style=style, inversion=inversion, guidance_scale=5.0).images[0]
    assert draw(styled, recipe.replace(guidance_scale=5.0))[0] == expected


def test_rows_of_a_batch_have_inversions_of_their_own(styled, files):
    recipe = make(image=files["ink"], references=(files["warm"],), inversion=1)
    both = prepare(styled, recipe).generate([recipe, recipe.replace(prompt="b")])
    assert [image for image, _ in both] == [draw(styled, recipe.replace(prompt=prompt))[0] for prompt in "ab"]


def test_a_controlnet_reads_the_edges_of_the_image_also_in_the_inversion(styled, files, monkeypatch):
    torch.manual_seed(7)
    net = ControlNetModel.from_unet(styled.pipe.unet, conditioning_embedding_out_channels=(4, 8))
    with torch.no_grad():
        # They are zero at first.
        for convolution in cast(nn.ModuleList, net.controlnet_down_blocks):
            nn.init.normal_(cast(nn.Conv2d, convolution).weight)
    other = text_to_image_pipeline(styled, "canny", net)
    assert type(other.pipe).__name__ == "StableDiffusionXLControlNetPipeline"
    assert text_to_image_pipeline(styled) is styled
    edges: list[object] = []
    monkeypatch.setattr("instantstyle.imaging.control_image.canny_edges", lambda image: edges.append(image) or image)
    image, recipe = draw(other, make(image=files["ink"], inversion=1, control="canny"))
    assert (recipe.control, len(edges)) == ("canny", 1)
    assert image != draw(styled, make(image=files["ink"], inversion=1))[0]
    whole, _ = draw(other, make(image=files["ink"], inversion=1, control="tile"))
    assert whole != image
    assert len(edges) == 1


def test_the_model_of_an_inversion_draws_from_noise(monkeypatch, files):
    made: list[str] = []
    monkeypatch.setattr("instantstyle.generation.load.load_model", lambda *_, **__: "model")
    for name in ("image_to_image_pipeline", "text_to_image_pipeline"):
        monkeypatch.setattr(f"instantstyle.models.image_to_image.{name}", lambda *_, name=name: made.append(name))
    for inversion in (None, 2):
        load_for(make(image=files["ink"], inversion=inversion))
    assert made == ["image_to_image_pipeline", "text_to_image_pipeline"]
