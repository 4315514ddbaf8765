"""Unstyled twins hold the layout: their queries and keys act, and they are never returned."""

from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from instantstyle import InstantStyle, JobError, SharedAttention
from instantstyle.core.attention.interface import LayerInputs
from instantstyle.core.attention.twin import TwinAttention
from instantstyle.core.call_rows import CallRows
from instantstyle.core.denoising_state import Twins

from ..conftest import make_pipe
from .test_attention_processor import denoising_state
from .test_guidance_interval import record_batch_sizes


@pytest.fixture(scope="module")
def model(tokenizer_folder, state, image_encoder) -> InstantStyle:
    """One model for all tests: a call changes nothing in it."""
    return InstantStyle(make_pipe(tokenizer_folder), adapter=state, image_encoder=image_encoder)


@pytest.fixture
def generate(model, short, reference):
    ink = model.style(reference)

    def generate(prompt: Any = "a", **arguments: Any) -> Tensor:
        settings = {"style": ink, "blocks": "all", "seed": 1, "guidance_scale": 5.0, **short}
        return model(prompt, **{**settings, "num_inference_steps": 4, **arguments}).images

    return generate


def test_styled_rows_use_the_queries_and_keys_of_their_twins():
    state = denoising_state()
    state.twins = Twins((1, 1, 3, 3))
    query, key, value = torch.randn(3, 4, 2, 9, 8)

    def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        return (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value

    attn: Any = torch.nn.Identity()
    found = TwinAttention()(attend, query, key, value, LayerInputs(attn, torch.zeros(4, 9, 16), state))
    for styled, twin in ((0, 1), (2, 3)):
        assert_close(found[styled], attend(query[twin], key[twin], value[styled]))
        assert_close(found[twin], attend(query[twin], key[twin], value[twin]))


def test_at_share_0_images_are_bit_equal_and_without_twins(model, generate):
    sizes = record_batch_sizes(model.pipe.unet)
    assert generate(hold_layout=0.0).equal(generate())
    assert sizes == [2] * 8


@pytest.mark.parametrize(("share", "doubled"), [(0.5, 2), (1.0, 4)])
def test_twins_double_their_share_of_the_steps_and_are_not_returned(model, generate, share: float, doubled: int):
    sizes = record_batch_sizes(model.pipe.unet)
    held = generate(hold_layout=share)
    assert sizes == [4] * doubled + [2] * (4 - doubled)
    assert len(held) == 1
    assert (held - generate()).abs().max() > 1e-3


def test_a_twin_is_the_image_without_the_style(generate):
    seen: list[Tensor] = []

    def keep(pipe: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(tensors["latents"])
        return tensors

    generate(hold_layout=1.0, callback_on_step_end=keep)
    assert_close(seen[-1][1:], generate(style=None, blocks="style"), rtol=1e-4, atol=1e-4)


def test_a_style_without_strength_leaves_the_plain_image(generate):
    plain = generate(style=None, blocks="style")
    for share in (0.5, 1.0):
        assert_close(generate(scale=1e-12, hold_layout=share), plain, rtol=1e-4, atol=1e-4)


def test_images_of_a_batch_are_those_of_single_calls(generate):
    both = generate(["a", "b"], num_images_per_prompt=2, hold_layout=0.5)
    alone = [
        generate(prompt, num_images_per_prompt=2, seed=seed, hold_layout=0.5) for prompt, seed in (("a", 1), ("b", 3))
    ]
    assert_close(both, torch.cat(alone), rtol=1e-4, atol=1e-4)
    assert_close(alone[0][:1], generate(hold_layout=0.5), rtol=1e-4, atol=1e-4)


def test_a_list_of_generators_is_as_the_seed(generate):
    generators = [torch.Generator().manual_seed(1)]
    assert generate(seed=None, generator=generators, hold_layout=0.5).equal(generate(hold_layout=0.5))


def test_twins_and_a_guidance_interval_skip_both(model, generate):
    sizes = record_batch_sizes(model.pipe.unet)
    generate(hold_layout=0.5, guidance_interval=(0.25, 0.75))
    assert sizes == [2, 4, 2, 1]


def test_recorded_attention_is_that_of_the_styled_rows(model, generate):
    with model.record_attention() as maps:
        generate(hold_layout=0.5)
    assert len(maps.share()) == 1


def test_image_to_image_holds_the_layout_too(model, short, reference, generate):
    photo = Image.new("RGB", (16, 16), "teal")
    arguments = {key: value for key, value in short.items() if key not in ("height", "width")}
    arguments |= {"image": photo, "strength": 1.0, "seed": 1, "num_inference_steps": 4, "guidance_scale": 5.0}
    other = model.with_pipeline(StableDiffusionXLImg2ImgPipeline.from_pipe(model.pipe))
    sizes = record_batch_sizes(model.pipe.unet)
    held = other(["a", "b"], style=model.style(reference), blocks="all", hold_layout=0.5, **arguments).images
    assert sizes == [8] * 2 + [4] * 2
    plain = other(["a", "b"], **arguments).images
    without = other(["a", "b"], style=model.style(reference), blocks="all", scale=1e-12, hold_layout=0.5, **arguments)
    assert_close(without.images, plain, rtol=1e-4, atol=1e-4)
    assert (held - plain).abs().max() > 1e-3


def test_twins_are_dropped_from_tuples_too():
    rows = CallRows(prompts=2, images=2, twin_share=0.5, replayed=None, inversion=None)
    images, flags = rows.select_returned((torch.arange(8), [True, False] * 4))
    assert images.tolist() == [0, 1, 4, 5]
    assert flags == [True, False] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hold_layout": 1.5}, "hold_layout is 1.5; it is a share of the steps"),
        ({"hold_layout": 0.5, "style": None, "blocks": "style"}, "there is no style"),
        ({"hold_layout": 0.5, "style": SharedAttention(), "blocks": "style"}, "use one of them"),
        ({"hold_layout": 0.5, "latents": torch.zeros(1, 4, 8, 8)}, "give seed= instead of latents"),
        ({"hold_layout": 0.5, "seed": None, "generator": torch.Generator()}, "a generator for each image"),
    ],
)
def test_calls_without_pairs_are_refused(generate, arguments: dict[str, Any], message: str):
    with pytest.raises(JobError, match=message):
        generate(**arguments)
