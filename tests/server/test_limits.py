"""Limits of a request where it leaves fields open, and errors about what the service and the upload decide."""

import base64
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from diffusers import HeunDiscreteScheduler, PNDMScheduler
from PIL import Image

from instantstyle import InstantStyle, ModelError
from instantstyle.recipe_types import Reference
from instantstyle.server.errors import ApiError
from instantstyle.server.limits import Limits
from instantstyle.server.model_defaults import ModelDefaults
from instantstyle.server.schemas import EditRequest, GenerationRequest

from ..parity.flux import make_pipeline
from .conftest import SHORT, decode, error_message, png

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"


@pytest.fixture
def calls(styled) -> Iterator[list[int]]:
    """An entry for each call of the network."""
    made: list[int] = []
    handle = styled.pipe.unet.register_forward_pre_hook(lambda *_: made.append(1))
    yield made
    handle.remove()


def restyle(client, *sizes: tuple[int, int], **fields):
    """Post images of these sizes, of which the last is restyled."""
    files = [("image", (f"{number}.png", png(Image.new("1", size)))) for number, size in enumerate(sizes)]
    return client.post(EDITS, data={"prompt": "a", "seed": 1, "mode": "restyle", **fields}, files=files)


def test_fields_that_are_left_out_count_by_the_model_and_the_scheduler_of_the_service():
    mini, heun = ModelDefaults(12, 128, 128), ModelDefaults(12, 128, 128, calls_per_step=2)
    flux = ModelDefaults(12, 128, 128, second_call={"true_cfg_scale": 1.0})
    held = {"style_image": "ink", "hold_layout": 0.5}
    inversion = {"mode": "restyle", "inversion": 10}
    steps, pixels = "calls of the network in num_inference_steps", "pixels of size"
    wrong = {}
    for model, limits, fields, expected in (
        (mini, {}, {}, ""),
        (mini, {}, inversion, f"{steps} (by default 12) is 132, at most 100. Send a smaller num_inference_steps."),
        (mini, {}, {**inversion, "num_inference_steps": 9}, ""),
        (mini, {}, {**inversion, "inversion": 7}, ""),
        (mini, {"steps": 12}, {}, ""),
        (mini, {"steps": 11}, {}, f"{steps} (by default 12) is 12, at most 11."),
        (mini, {"steps": 23}, {"scheduler": "heun"}, f"{steps} (by default 12) is 24, at most 23."),
        (heun, {"steps": 23}, {}, f"{steps} (by default 12) is 24, at most 23."),
        (heun, {"steps": 19}, {"num_inference_steps": 10}, f"{steps} is 20, at most 19."),
        (heun, {"steps": 20}, {"num_inference_steps": 10}, ""),
        (heun, {"steps": 12}, {"scheduler": "euler"}, ""),
        (mini, {"steps": 12}, {"scheduler": "pndm"}, f"{steps} (by default 12) is 13, at most 12."),
        (mini, {"steps": 13}, {"scheduler": "pndm"}, ""),
        (flux, {"steps": 12}, {"guidance_scale": 5}, ""),
        (flux, {"steps": 12}, {"true_cfg_scale": 1.5}, f"{steps} (by default 12) is 24, at most 12."),
        (mini, {"steps": 12}, {"true_cfg_scale": 1.5}, ""),
        # An inversion is drawn by DDIM, whatever the model's own scheduler is.
        (heun, {"steps": 36}, {**inversion, "inversion": 2}, ""),
        (heun, {"steps": 35}, {**inversion, "inversion": 2}, f"{steps} (by default 12) is 36, at most 35."),
        # A ControlNet runs before each call of the network, also in an inversion.
        (mini, {"steps": 24}, {"mode": "restyle", "control": "tile"}, ""),
        (mini, {"steps": 23}, {"mode": "restyle", "control": "tile"}, f"{steps} (by default 12) is 24, at most 23."),
        (mini, {"steps": 71}, {**inversion, "inversion": 2, "control": "canny"}, "is 72, at most 71."),
        (mini, {"image_pixels": 128 * 128}, {}, ""),
        (
            mini,
            {"image_pixels": 128 * 127},
            {},
            f"{pixels} (by default 128x128) is 16384, at most 16256.",
        ),
        (mini, {"image_pixels": 20_000}, held, f"{pixels} (by default 128x128), with twins, is 32768, at most 20000."),
        (mini, {"image_pixels": 20_000}, {**held, "size": "64x64"}, ""),
        (mini, {"image_pixels": 20_000, "steps": 1}, held, "Send a smaller num_inference_steps and size."),
        # Its size is known when the upload is read.
        (mini, {"image_pixels": 64}, {"mode": "restyle"}, ""),
    ):
        kind = EditRequest if "mode" in fields else GenerationRequest
        request = kind.model_validate({"prompt": "a", **fields})
        try:
            Limits(**limits).check(request, model)
            found = ""
        except ApiError as error:
            found = str(error)
        if expected not in found or bool(expected) != bool(found):
            wrong[str(limits), str(fields)] = found
    assert wrong == {}


def test_the_defaults_of_a_service_are_what_its_model_does(serve, styled, calls):
    styled.defaults = {"num_inference_steps": 3, "guidance_scale": 1.0}
    defaults = ModelDefaults.of(styled, None)
    [entry] = serve().post(GENERATIONS, json={"prompt": "a", "seed": 1}).json()["data"]
    assert decode(entry).size == (defaults.width, defaults.height) == (16, 16)
    assert len(calls) == entry["recipe"]["num_inference_steps"] == defaults.steps == 3
    assert ModelDefaults.of(styled, "euler").calls_per_step == 1
    assert [ModelDefaults.of(styled, name).calls_per_step for name in ("heun", "HeunDiscreteScheduler")] == [2, 2]
    styled.defaults = {"num_inference_steps": 3, "width": 32, "height": 24}
    styled.pipe.scheduler = HeunDiscreteScheduler.from_config(styled.pipe.scheduler.config)
    assert ModelDefaults.of(styled, None) == ModelDefaults(3, 32, 24, calls_per_step=2)
    styled.defaults = {}
    assert ModelDefaults.of(styled, None).steps == 50


def test_the_first_steps_of_pndm_count_as_the_calls_that_they_make(serve, styled, calls):
    own: Any = styled.pipe.scheduler
    for skips, request, expected in ((True, {"scheduler": "pndm"}, 6), (True, {}, 6), (False, {}, 14)):
        styled.pipe.scheduler = PNDMScheduler.from_config(own.config, skip_prk_steps=skips)
        body = {"prompt": "a", "size": "16x16", "num_inference_steps": 5, **request}
        refused = serve(limits={"steps": expected - 1}).post(GENERATIONS, json=body)
        assert f"is {expected}, at most {expected - 1}" in error_message(refused)
        calls.clear()
        assert serve(limits={"steps": expected}).post(GENERATIONS, json=body).status_code == 200
        assert len(calls) == expected


@pytest.mark.filterwarnings("ignore:.*FluxPosEmbed:FutureWarning")
def test_true_guidance_of_a_transformer_counts_as_the_two_calls_that_it_makes(tokenizer_folder):
    flux, chroma = (make_pipeline(name, tokenizer_folder) for name in ("FluxPipeline", "ChromaPipeline"))
    size = {"num_inference_steps": 2, "width": 16, "height": 16, "output_type": "latent"}
    cases: list[tuple[Any, dict[str, Any], int]] = [
        (flux, {"guidance_scale": 3.0}, 2),
        (flux, {"true_cfg_scale": 3.0, "negative_prompt": ""}, 4),
        (chroma, {"guidance_scale": 1.0}, 2),
        (chroma, {"guidance_scale": 3.0}, 4),
        (chroma, {}, 4),
    ]
    for pipe, fields, expected in cases:
        made: list[int] = []
        handle = pipe.transformer.register_forward_pre_hook(lambda *_, made=made: made.append(1))
        styled = InstantStyle(pipe)
        styled("a", seed=1, **size, **fields)
        handle.remove()
        request = GenerationRequest.model_validate({"prompt": "a", "num_inference_steps": 2, **fields})
        counted = ModelDefaults.of(styled, None).count_calls(request)
        assert (counted, len(made)) == (expected, expected), (type(pipe).__name__, fields)


def test_steps_count_by_the_scheduler_of_the_service(serve, calls):
    for scheduler in ("heun", "HeunDiscreteScheduler"):
        client = serve(limits={"steps": 3}, scheduler=scheduler)
        response = client.post(GENERATIONS, json={"prompt": "a", **SHORT})
        assert (response.status_code, len(calls)) == (400, 0)
        assert "calls of the network in num_inference_steps is 4, at most 3" in error_message(response)
    assert client.post(GENERATIONS, json={"prompt": "a", **SHORT, "scheduler": "euler"}).status_code == 200


def test_a_service_says_at_its_start_which_requests_it_will_refuse(serve, styled, caplog):
    styled.defaults = {"num_inference_steps": 12}
    with caplog.at_level(logging.WARNING, "instantstyle.server"):
        serve(limits={"steps": 12, "image_pixels": 256})
        assert caplog.messages == []
        serve(limits={"steps": 12, "image_pixels": 255}, scheduler="heun")
    assert caplog.messages == [
        "Requests without num_inference_steps will be refused: the model's 12 steps are 24 calls of the network, and "
        "at most 12 are allowed (--max-steps).",
        "Requests without size will be refused: the model's 16x16 has 256 pixels, and at most 255 are allowed "
        "(--max-pixels).",
    ]


def test_a_scheduler_that_the_model_cannot_use_is_refused_at_the_start(serve):
    with pytest.raises(ModelError, match="There is no scheduler 'OilerScheduler' for this model"):
        serve(scheduler="OilerScheduler")


@pytest.mark.parametrize("fields", [{"strength": 1}, {"inversion": 1}, {"strength": 1, "stream": "true"}])
def test_a_restyled_image_counts_at_the_size_at_which_it_is_drawn(serve, calls, fields):
    # The small model draws 16×16 px, and an image of 4×600 px at 8×192.
    sizes, pixels = ((20, 20), (4, 600)), 8 * 192
    response = restyle(serve(limits={"image_pixels": pixels - 1}), *sizes, num_inference_steps=1, **fields)
    assert (response.status_code, len(calls)) == (400, 0)
    assert error_message(response) == (
        "The image would be restyled at 8x192, whose pixels are 1536, at most 1535; crop it to a shape nearer to a "
        "square."
    )
    response = restyle(serve(limits={"image_pixels": pixels}), *sizes, num_inference_steps=1, **fields)
    assert response.status_code == 200
    assert len(calls) > 0


def test_images_beside_a_restyled_one_count_in_its_pixels(serve):
    for pixels, expected in (
        (511, "16x16, whose pixels, with twins, are 512, at most 511; leave hold_layout out."),
        (255, "16x16, whose pixels, with twins, are 512, at most 255; this service can restyle none with this model."),
    ):
        client = serve(limits={"image_pixels": pixels})
        response = restyle(client, (20, 20), (20, 20), hold_layout=0.5, num_inference_steps=1)
        assert error_message(response).endswith(expected), pixels


@pytest.mark.parametrize("fields", [{}, {"inversion": 1}])
def test_an_image_of_extreme_proportions_is_refused_before_it_is_drawn(serve, calls, fields):
    response = restyle(serve(), (20, 20), (1, 1_200_000), num_inference_steps=1, **fields)
    assert (response.status_code, len(calls)) == (400, 0)
    assert error_message(response) == (
        "The image to start from has 1×1200000 px; in these proportions it would be drawn at 8×17528 px, and a side "
        "has at most 16384; crop it to a shape nearer to a square."
    )


def test_errors_about_settings_of_the_service_say_what_a_client_can_send(serve, ink):
    inverted = {"inversion": 1, "num_inference_steps": 1}
    advice = 'send scheduler="ddim", or leave inversion out.'
    client = serve(scheduler="heun")
    for fields, expected in (
        ({}, f"An inversion is drawn by DDIM, and the scheduler of this service is 'heun'; {advice}"),
        ({"scheduler": "euler"}, f"An inversion is drawn by DDIM, and scheduler is 'euler'; {advice}"),
    ):
        assert error_message(restyle(client, (20, 20), (20, 20), **inverted, **fields)) == expected
    assert restyle(client, (20, 20), (20, 20), **inverted, scheduler="ddim").status_code == 200
    reference = {"prompt": "a", **SHORT, "style_image": base64.b64encode(ink).decode()}
    for fields, expected in (
        (
            {"second_scale": 0.5},
            "second_scale can only act with a second adapter, and this service has none;",
        ),
        ({"second_scale": 2, "second_blocks": "style"}, "second_blocks and second_scale can only act with a second"),
    ):
        response = client.post(GENERATIONS, json={**reference, **fields})
        assert error_message(response).startswith(expected)
    second = serve(second_adapter=Reference(name="plus.safetensors"))
    for fields, expected in (
        ({"second_scale": 0.5}, "second_scale can only act on the style of a reference"),
        ({"second_blocks": "x.json"}, "second_blocks cannot name 'x.json' here"),
        ({"second_blocks": []}, "second_blocks is empty; leave it out for its default"),
    ):
        response = second.post(GENERATIONS, json={"prompt": "a", **SHORT, **fields})
        assert error_message(response).startswith(expected)
