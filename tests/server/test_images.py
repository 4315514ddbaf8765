"""Images and streams in the format of OpenAI's API, equal to those of the command."""

import base64
import json
import re
import sys
from hashlib import sha256
from typing import cast

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image
from torch import nn

from instantstyle.errors import RequestWarning
from instantstyle.generation.generate import generate as generate_images
from instantstyle.generation.worker import ModelWorker
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Control, Lora, Reference
from instantstyle.server.errors import ApiError
from instantstyle.server.limits import Limits
from instantstyle.server.model_defaults import ModelDefaults
from instantstyle.server.schemas import GenerationRequest

from .conftest import SHORT, decode, error_message, png

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"


def post_generation(client, **fields):
    return client.post(GENERATIONS, json={"prompt": "a rocket", "seed": 7, **SHORT, **fields})


def post_edit(client, *images: bytes, **fields):
    files = [("image[]", (f"image {number}.png", data)) for number, data in enumerate(images)]
    return client.post(EDITS, data={"prompt": "a rocket", "seed": 7, "num_inference_steps": 2, **fields}, files=files)


def is_equal(first: Image.Image, second: Image.Image) -> bool:
    return np.array_equal(np.asarray(first), np.asarray(second))


def events(response) -> list[tuple[str, dict]]:
    lines = [event.split("\n") for event in response.text.split("\n\n") if event]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in lines]


def test_settings_without_effect_are_refused_by_name(client):
    refused = {
        "partial_images can only act in a stream, and stream is not set; add it": {"partial_images": 1},
        "output_compression can only act on jpeg and webp, and output_format is png": {"output_compression": 80},
    }
    for message, fields in refused.items():
        response = post_generation(client, **fields)
        assert (response.status_code, message in error_message(response)) == (400, True), error_message(response)
    # What a client sends that writes all defaults.
    same = {"partial_images": 0, "output_compression": 100, "stream": False, "output_format": "png"}
    assert post_generation(client, **same).status_code == 200


def test_an_image_equals_the_one_that_the_command_generates(client, styled):
    [entry] = post_generation(client).json()["data"]
    recipe = Recipe(prompt="a rocket", seed=7, num_inference_steps=2, height=16, width=16)
    [(image, _)] = generate_images(styled, recipe)
    assert is_equal(decode(entry), image)


def test_a_response_describes_its_images(client):
    response = post_generation(client, n=2).json()
    assert response["size"] == "16x16"
    assert response["output_format"] == "png"
    assert [one["recipe"]["seed"] for one in response["data"]] == [7, 8]


def test_warnings_are_in_the_answer_and_in_the_event(client, styled, monkeypatch):
    assert post_generation(client).json()["warnings"] == []
    hints = {"a rocket": "no word of a rocket"}
    monkeypatch.setattr(styled, "explain_prompt", hints.get)
    with pytest.warns(RequestWarning):
        listed = post_generation(client, n=2, size="64x16").json()["warnings"]
    with pytest.warns(RequestWarning):
        *_, (_, completed) = events(post_generation(client, stream=True, partial_images=1, size="64x16"))
    assert listed[0] == "no word of a rocket"
    assert listed[1].startswith("The model was trained on images of 16×16 px; of 64×16 px they are likely")
    assert completed["warnings"] == listed
    assert len(listed) == 2


@pytest.mark.filterwarnings("ignore::instantstyle.errors.RequestWarning")
def test_what_a_call_warns_of_is_in_the_answer_with_the_clients_file_names(client, ink):
    for fields, expected in (
        ({"hold_layout": 0.5, "start": 0.5}, "hold_layout 0.5 has no effect"),
        ({"start": 0.6, "end": 0.7}, "image 0.png acts at none of the 2 steps"),
        ({"colour_transfer": 1, "colour_transfer_interval": ["0.3", "0.3"]}, "The colour transfer acts at none of"),
        ({"prompt": ""}, "The prompt is empty"),
    ):
        [warning] = post_edit(client, ink, **fields).json()["warnings"]
        assert warning.startswith(expected)
    # The image to restyle says what the result shows.
    restyled = {"mode": "restyle", "prompt": "", "size": "auto"}
    assert post_edit(client, ink, ink, **restyled).json()["warnings"] == []
    [warning] = post_edit(client, ink, ink, **restyled, inversion=1, scheduler="ddim").json()["warnings"]
    assert warning.startswith("seed has no effect on images that begin with an inversion")


@pytest.mark.filterwarnings("ignore::instantstyle.errors.RequestWarning")
def test_warnings_of_the_call_are_in_the_answer_too(client, ink, monkeypatch):
    reference = {"style_image": base64.b64encode(ink).decode()}
    expected = {
        "style_image acts at none of the 2 steps": {"start": 0.9},
        "The colour transfer acts at none of the 2 steps": {
            "colour_transfer": 0.5,
            "colour_transfer_interval": [1, 1],
        },
        "A style with unconditional=True has no effect without guidance": {
            "blocks": "precise-style",
            "guidance_scale": 1,
        },
    }
    for text, fields in expected.items():
        [listed] = post_generation(client, **reference, **fields).json()["warnings"]
        assert listed.startswith(text)
    *_, (_, completed) = events(post_generation(client, stream=True, start=0.9, **reference))
    assert completed["warnings"] == [listed for listed in completed["warnings"] if "acts at none" in listed] != []
    assert post_generation(client, **reference).json()["warnings"] == []


def test_each_image_has_a_random_seed_if_none_is_given(client):
    seeds = {post_generation(client, seed=None).json()["data"][0]["recipe"]["seed"] for _ in range(2)}
    assert len(seeds) == 2


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_an_image_has_the_requested_format(client, output_format):
    quality = {} if output_format == "png" else {"output_compression": 50}
    response = post_generation(client, output_format=output_format, **quality).json()
    assert decode(response["data"][0]).format == output_format.upper()


def test_a_png_contains_its_recipe_with_the_clients_file_names(client, ink, tmp_path):
    [entry] = post_edit(client, ink).json()["data"]
    path = tmp_path / "image.png"
    path.write_bytes(base64.b64decode(entry["b64_json"]))
    recipe = read_recipe(path)
    assert recipe == Recipe.model_validate(entry["recipe"])
    assert [reference.name for reference in recipe.references] == ["image 0.png"]
    assert recipe.references[0].sha256


def test_a_recipe_does_not_show_the_folders_of_the_model(serve):
    parts = {
        "model": "/srv/models/private",
        "adapter": Reference(name="/srv/private.safetensors", sha256=64 * "0"),
        "image_encoder": "/srv/encoder",
    }
    [entry] = post_generation(serve(**parts)).json()["data"]
    assert {part: entry["recipe"][part] for part in parts} == {
        "model": "private",
        "adapter": {"name": "private.safetensors", "sha256": 64 * "0", "weight": 1.0},
        "image_encoder": "encoder",
    }


def test_an_uploaded_image_is_the_style_reference(client, styled, ink, tmp_path):
    path = tmp_path / "ink.png"
    path.write_bytes(ink)
    [entry] = post_edit(client, ink, size="16x16", content="a cat", scale="0.5").json()["data"]
    recipe = Recipe(
        prompt="a rocket",
        seed=7,
        references=(Reference(name=str(path)),),
        content=("a cat",),
        scale=0.5,
        num_inference_steps=2,
        height=16,
        width=16,
    )
    [(image, _)] = generate_images(styled, recipe)
    assert is_equal(decode(entry), image)


def test_a_request_chooses_a_scheduler_and_the_recipe_says_so(client):
    plain, euler = (post_generation(client, **fields).json()["data"][0] for fields in ({}, {"scheduler": "euler"}))
    assert euler["recipe"]["scheduler"] == "euler"
    assert not is_equal(decode(plain), decode(euler))


def test_steps_of_a_second_order_scheduler_count_twice(serve):
    client = serve(limits={"steps": 3})
    assert post_generation(client, num_inference_steps=2, scheduler="euler").status_code == 200
    response = post_generation(client, num_inference_steps=2, scheduler="heun")
    assert response.status_code == 400
    assert "calls of the network in num_inference_steps is 4, at most 3" in error_message(response)


def test_methods_of_a_request_reach_the_recipe(client, ink):
    style = {"style_image": base64.b64encode(ink).decode(), "blocks": "all", "fuse": "adain", "hold_layout": 0.5}
    [held] = post_generation(client, **style).json()["data"]
    assert (held["recipe"]["fuse"], held["recipe"]["hold_layout"]) == ("adain", 0.5)
    plain, first, second = (
        *post_generation(client).json()["data"],
        *post_generation(client, n=2, shared="align").json()["data"],
    )
    assert is_equal(decode(first), decode(plain))
    assert [each["recipe"]["first_seed"] for each in (first, second)] == [7, 7]
    [again] = post_generation(client, seed=8, shared="align", first_prompt="a rocket", first_seed=7).json()["data"]
    assert is_equal(decode(again), decode(second))


def test_images_beside_those_of_a_request_count_in_its_limits():
    style = {"style_image": "ink", "hold_layout": 0.5}
    limits, model = Limits(images=3, image_pixels=16 * 16, text_length=20), ModelDefaults(steps=2, width=8, height=8)
    for fields, expected in (
        ({"n": 3}, None),
        ({"n": 2, **style}, "n, with twins, is 4, at most 3"),
        ({"n": 2, "shared": "swap"}, "n, with the first image beside each, is 4, at most 3"),
        ({"size": "16x16"}, None),
        ({"size": "16x16", **style}, "pixels of size, with twins, is 512, at most 256"),
        ({"first_prompt": "a" * 20, "first_seed": 1}, "characters of text is 21, at most 20"),
    ):
        request = GenerationRequest.model_validate({"prompt": "a", **fields})
        if expected is None:
            limits.check(request, model)
            continue
        with pytest.raises(ApiError) as caught:
            limits.check(request, model)
        assert expected in str(caught.value), fields


def test_the_recipe_of_a_client_names_weights_without_folders(serve):
    loras = (Lora(name="/secret/ink.safetensors", sha256="0" * 64, weight=0.5),)
    client = serve(loras=loras, vae=Reference(name="/secret/vae"), scheduler="ddim")
    recipe = post_generation(client).json()["data"][0]["recipe"]
    assert (recipe["loras"][0]["name"], recipe["loras"][0]["weight"]) == ("ink.safetensors", 0.5)
    assert (recipe["vae"]["name"], recipe["scheduler"]) == ("vae", "ddim")


def test_a_reference_can_be_sent_as_base64(client, ink):
    plain, data_url = (f"{prefix}{base64.b64encode(ink).decode()}" for prefix in ("", "data:image/png;base64,"))
    styled = [post_generation(client, style_image=text, scale=2).json()["data"][0] for text in (plain, data_url)]
    [unstyled] = post_generation(client).json()["data"]
    assert is_equal(*map(decode, styled))
    assert not is_equal(decode(styled[0]), decode(unstyled))


def test_restyle_applies_the_style_of_the_first_image_to_the_second(client, ink):
    wide = Image.new("RGB", (64, 32), "red")
    response = post_edit(client, ink, png(wide), mode="restyle", strength=1.0)
    [entry] = response.json()["data"]
    assert entry["recipe"]["image"]["name"] == "image 1.png"
    image = decode(entry)
    assert image.width > image.height


def test_a_restyled_image_can_begin_with_its_inversion(client, ink):
    fields = {"mode": "restyle", "inversion": 1, "image_scale": 0.2, "num_inference_steps": 2}
    [entry] = post_edit(client, ink, png(Image.new("RGB", (64, 32), "red")), **fields).json()["data"]
    recipe = entry["recipe"]
    names = ("inversion", "image_scale", "strength", "scheduler")
    assert [recipe.get(name) for name in names] == [1, 0.2, None, "ddim"]
    refused = post_edit(client, ink, ink, **{**fields, "inversion": 10, "num_inference_steps": 50})
    assert "calls of the network in num_inference_steps is 550" in error_message(refused)


@pytest.fixture
def controlled(serve, styled):
    """Return a function that starts a service with ControlNets."""
    torch.manual_seed(7)
    net = ControlNetModel.from_unet(styled.pipe.unet, conditioning_embedding_out_channels=(4, 8))
    with torch.no_grad():
        # They are zero at first.
        for convolution in cast(nn.ModuleList, net.controlnet_down_blocks):
            nn.init.normal_(cast(nn.Conv2d, convolution).weight)

    def start(*controls: Control, **settings):
        return serve(lambda made: ModelWorker(made, dict.fromkeys(controls, net)), controls=controls, **settings)

    return start


@pytest.mark.parametrize(
    ("fields", "strength"), [({}, 1.0), ({"strength": 0.5}, 0.5), ({"inversion": 1, "scheduler": "ddim"}, None)]
)
def test_a_controlnet_preserves_the_structure_of_the_image_to_restyle(controlled, ink, fields, strength):
    client, fields = controlled("canny", "tile"), {"mode": "restyle", "num_inference_steps": 2, **fields}
    wide = png(Image.effect_noise((64, 32), 90))
    images = []
    for control in ("none", "canny", "tile"):
        [entry] = post_edit(client, ink, wide, **fields, control=control).json()["data"]
        assert entry["recipe"]["control"] == control
        images.append(decode(entry).tobytes())
    assert len(set(images)) == 3
    # The default depends on whether a ControlNet preserves the structure.
    assert entry["recipe"].get("strength") == strength
    [again] = post_edit(client, ink, wide, **fields, control="tile").json()["data"]
    assert decode(again).tobytes() == images[-1]


def test_a_controlnet_that_the_service_has_not_is_refused(client, controlled, ink):
    fields = {"mode": "restyle", "control": "canny"}
    refused = post_edit(client, ink, ink, **fields)
    assert refused.status_code == 400
    assert error_message(refused) == "control is 'canny', and this service has no ControlNet; leave it out."
    refused = post_edit(controlled("tile"), ink, ink, **fields)
    assert error_message(refused) == "control is 'canny', and this service has only tile; send tile, or leave it out."


def test_edges_without_opencv_are_refused(controlled, ink, monkeypatch):
    client = controlled("canny")
    monkeypatch.setitem(sys.modules, "cv2", None)
    refused = post_edit(client, ink, ink, mode="restyle", control="canny")
    assert (refused.status_code, "OpenCV, which is not installed" in error_message(refused)) == (400, True)


def test_the_amounts_of_a_request_with_a_controlnet_are_limited(controlled, ink):
    client = controlled("tile", limits={"steps": 7, "upload_pixels": 9000, "image_pixels": 16 * 16})
    fields = {"mode": "restyle", "control": "tile"}
    refused = post_edit(client, ink, ink, **fields, num_inference_steps=4)
    assert "calls of the network in num_inference_steps is 8, at most 7" in error_message(refused)
    refused = post_edit(client, ink, png(Image.new("RGB", (100, 100))), **fields)
    assert "100×100 pixels, more than the limit of 9000" in error_message(refused)
    refused = post_edit(client, ink, png(Image.new("RGB", (200, 20))), **fields)
    assert "The image would be restyled at 48x8, whose pixels are 384, at most 256" in error_message(refused)
    assert post_edit(client, ink, png(Image.new("RGB", (50, 50))), **fields, num_inference_steps=3).status_code == 200


def test_the_schema_names_the_controlnets(client):
    schema = client.get("/openapi.json").json()
    form = schema["paths"][EDITS]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    control = form["properties"]["control"]
    assert (control["enum"], control["default"]) == (["none", "canny", "tile"], "none")


def test_a_stream_has_previews_and_then_the_finished_image(client):
    streamed = events(post_generation(client, stream=True, partial_images=2, num_inference_steps=6))
    assert [name for name, _ in streamed] == [
        *["image_generation.partial_image"] * 2,
        "image_generation.completed",
    ]
    assert [fields["partial_image_index"] for _, fields in streamed[:2]] == [0, 1]
    images = [decode(fields).tobytes() for _, fields in streamed]
    assert len(set(images)) == 3


def test_previews_do_not_change_the_image(client):
    *_, (_, completed) = events(post_generation(client, stream=True, partial_images=1))
    [entry] = post_generation(client).json()["data"]
    assert is_equal(decode(completed), decode(entry))


def test_a_streamed_edit_has_its_own_event_types(client, ink):
    [(name, _)] = events(post_edit(client, ink, stream="true", size="16x16"))
    assert name == "image_edit.completed"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"n": 0}, "n is 0, should be greater than or equal to 1"),
        ({"promt": "a cat"}, "there is no field promt (perhaps prompt)"),
        ({"size": "17x16"}, "size is '17x16', should have sides that are multiples of 8"),
        ({"scale": 11}, "scale is 11, should be less than or equal to 10"),
        ({"response_format": "url"}, "response_format is 'url', should be 'b64_json'"),
        ({"scheduler": "eulr"}, "Did you mean euler?"),
        ({"scheduler": "EulerDiscreteScheduler"}, "tcd and unipc."),
        ({"texture_image": "aW5r"}, "texture or texture_image can only act on the style of a reference"),
        ({"shared": "align"}, "there is one image; ask for several"),
        ({"hold_layout": 0.5}, "hold_layout can only act on the style of a reference"),
        ({"fuse": "mean"}, "fuse is 'mean', should be 'add' or 'adain'"),
        ({"loras": ["a.safetensors"]}, "there is no field loras"),
        ({"content": "a cat"}, "content can only act on the style of a reference, and there is none"),
        ({"style_image": "https://example.org/ink.png"}, "style_image is not base64"),
        (
            {"style_image": base64.b64encode(b"not an image").decode()},
            "style_image is not an image in a supported format",
        ),
    ],
)
def test_an_invalid_generation_is_refused_with_the_reason(client, fields, expected):
    response = post_generation(client, **fields)
    assert response.status_code == 400
    assert expected in error_message(response)


@pytest.mark.parametrize(
    ("images", "fields", "expected"),
    [
        (0, {}, "image is missing"),
        (1, {"mode": "restyle"}, "mode restyle needs a style"),
        (2, {"mode": "restyle", "size": "16x16"}, "size cannot be set in mode restyle"),
        (1, {"strength": 0.5}, 'add mode="restyle"'),
        (1, {"inversion": 2}, "inversion can act only on an image to restyle"),
        (1, {"control": "tile"}, 'control can act only on an image to restyle; add mode="restyle"'),
        (2, {"mode": "restyle", "control": "depth"}, "control is 'depth', should be 'none', 'canny' or 'tile'"),
        (1, {"blocks": "stile"}, "SDXL has no block stile"),
        (1, {"image": "https://example.org/ink.png"}, "URLs and paths are not read"),
    ],
)
def test_an_inconsistent_edit_is_refused_with_the_reason(client, ink, images, fields, expected):
    response = post_edit(client, *[ink] * images, **fields)
    assert response.status_code == 400
    assert expected in error_message(response)


def test_settings_that_cannot_act_on_a_stored_style_are_refused(client, serve, ink, tmp_path):
    client.post("/v1/styles", files=[("image", ("ink.png", ink))], data={"name": "ink"})
    assert "crop can only act on images" in error_message(post_generation(client, style="ink", crop="pad"))
    second = serve(second_adapter=Reference(name="plus.safetensors"))
    response = post_generation(second, second_scale=0.5)
    assert "second_scale can only act on the style of a reference, and there is none" in error_message(response)


def test_a_mask_is_refused(client, ink):
    files = {"image": ("ink.png", ink), "mask": ("mask.png", ink)}
    response = client.post(EDITS, data={"prompt": "a rocket"}, files=files)
    assert error_message(response) == "mask is not supported: this service takes no mask; leave it out."
    assert response.json()["error"]["param"] == "mask"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"foo": 1}, "foo"),
        ({"size": "100x100"}, "size"),
        ({"size": "big"}, "size"),
        ({"size": "9000x9000"}, "size"),
        ({"prompt": None}, "prompt"),
        ({"content": [" "]}, "content"),
        ({"n": 900}, "n"),
        ({"model": "sdxl"}, "model"),
        ({"style": "nowhere"}, "style"),
        ({"texture": "nowhere"}, "texture"),
        ({"blocks": "probe.json"}, "blocks"),
        ({"partial_images": 1}, "partial_images"),
        ({"redux_scale": 0.5}, "redux_scale"),
        ({"first_seed": 1}, None),
    ],
)
def test_an_error_names_the_field_that_it_is_about_and_no_class(client, fields, param):
    response = post_generation(client, **fields)
    assert response.json()["error"]["param"] == param
    assert not re.search(r"GenerationRequest|Recipe", error_message(response))


def test_the_forms_of_edits_and_styles_name_their_fields_too(client, ink):
    files = [("image", ("ink.png", ink))]
    answers = [
        client.post(url, data=fields, files=files).json()["error"]
        for url, fields in (
            (EDITS, {"prompt": "a", "strength": "0.5"}),
            (EDITS, {"prompt": "a", "control": "depth"}),
            (EDITS, {"prompt": "a", "blocks": "["}),
            ("/v1/styles", {"nam": "ink"}),
        )
    ]
    assert [answer["param"] for answer in answers] == ["strength", "control", "blocks", "nam"]
    assert answers[-1]["message"] == "This request is invalid: there is no field nam (perhaps name)."


@pytest.mark.parametrize(("moderation", "status"), [("auto", 200), ("low", 200), ("high", 400)])
def test_moderation_has_no_effect_but_its_values_are_those_of_openai(client, moderation, status):
    assert post_generation(client, moderation=moderation).status_code == status


def test_another_model_is_not_found(client):
    response = post_generation(client, model="dall-e-3")
    assert response.status_code == 404
    assert error_message(response) == "There is no model 'dall-e-3' here; there is small."


def test_a_bug_of_the_service_is_answered_without_details(serve):
    class FailingWorker(ModelWorker):
        def generate(self, *_, **__):
            raise RuntimeError("secret")

    client = serve(FailingWorker, answer_bugs=True)
    expected = "The service failed at this request; its log says why."
    response = post_generation(client)
    assert response.status_code == 500
    assert error_message(response) == expected
    [(name, content)] = events(post_generation(client, stream=True))
    assert (name, content["error"]["message"]) == ("error", expected)


def test_the_colours_are_those_of_an_image_of_their_own(client):
    noise = png(Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 90).convert("RGB"))
    ink = png(Image.merge("RGB", [Image.effect_noise((40, 30), spread) for spread in (20, 60, 120)]))
    fields = {"colour_transfer": 0.5, "colour_transfer_interval": [0, 1], "seed": 1}
    ink_64, noise_64 = (base64.b64encode(data).decode() for data in (ink, noise))
    # Where it is the reference itself, nothing changes.
    [own] = post_generation(client, style_image=ink_64, **fields).json()["data"]
    [same] = post_generation(client, style_image=ink_64, colour_image=ink_64, **fields).json()["data"]
    assert is_equal(decode(same), decode(own))
    [other] = post_generation(client, style_image=ink_64, colour_image=noise_64, **fields).json()["data"]
    assert not is_equal(decode(other), decode(own))
    assert other["recipe"]["colour_image"] == {
        "name": "colour_image",
        "sha256": sha256(noise).hexdigest(),
        "weight": 1.0,
    }
    form = {"colour_transfer": 0.5, "colour_transfer_interval": "[0, 1]", "seed": 1, "colour_image": noise_64}
    response = post_edit(client, ink, **form, **{name: SHORT[name] for name in SHORT if name != "num_inference_steps"})
    assert response.json()["data"][0]["recipe"]["colour_image"] == other["recipe"]["colour_image"]
    for given, message in (
        ({"colour_image": "a/b", **fields}, "colour_image is not base64"),
        ({"colour_image": noise_64}, "colour_image can only act with colour_transfer"),
    ):
        response = post_generation(client, style_image=ink_64, **given)
        assert response.status_code == 400
        assert message in error_message(response)


def test_a_texture_and_a_picture_of_the_content_are_uploaded_or_stored(client):
    """Images in the request give the same image as a style that is stored with what a blend needs."""
    noise = png(Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 90).convert("RGB"))
    ink = png(Image.merge("RGB", [Image.effect_noise((40, 30), spread) for spread in (20, 60, 120)]))
    fields = {"colour_scale": 0.8, "colour_transfer": 0.5, "colour_transfer_interval": [0, 1]}
    images = {"style_image": ink, "texture_image": noise, "content_image": noise}
    encoded = {name: base64.b64encode(data).decode() for name, data in images.items()}
    [uploaded] = post_generation(client, **encoded, **fields).json()["data"]
    assert [file["name"] for file in uploaded["recipe"]["texture_references"]] == ["texture_image"]
    assert [file["name"] for file in uploaded["recipe"]["content_references"]] == ["content_image"]
    assert uploaded["recipe"]["texture_scale"] == 1.0
    for name, keep in (("noise", "true"), ("bare", "false")):
        files = [("image", ("noise.png", noise))]
        assert client.post("/v1/styles", data={"name": name, "keep_grey": keep}, files=files).status_code == 201
    del encoded["texture_image"]
    [stored] = post_generation(client, **encoded, **fields, texture="noise").json()["data"]
    assert is_equal(decode(stored), decode(uploaded))
    response = post_generation(client, **encoded, **fields, texture="bare")
    assert "has no embedding of its images made grey" in error_message(response)
    assert "texture_image is not base64" in error_message(post_generation(client, **encoded, texture_image="a/b"))
    for field, advice in {
        "content_scale": "add content, or content_image",
        "colour_scale": "add texture or texture_image",
    }.items():
        message = error_message(post_generation(client, style_image=encoded["style_image"], **{field: 0.5}))
        assert advice in message
