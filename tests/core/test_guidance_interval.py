"""Guidance between two points of the schedule: half a batch elsewhere, the same picture, and no trace."""

from typing import Any

import pytest
import torch
from diffusers import (
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPAGPipeline,
    StableDiffusionXLPipeline,
)
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.testing import assert_close

from instantstyle import InstantStyle, JobError, ModelError
from instantstyle.core.attention_processor import styled_attention
from instantstyle.core.guidance_interval import CALL, SCALE, limit_guidance
from instantstyle.core.ip_adapter import cross_attention_layers

from ..conftest import base_projection, layer_weights
from ..parity.test_other_pipelines import (
    image_to_image,
    inpainting,
    make_sd15,
    one_controlnet,
    sd15_image_to_image,
    sd15_text_to_image,
    t2i_adapter_pipeline,
)

FOUR = {"num_inference_steps": 4, "output_type": "latent", "guidance_scale": 5.0, "seed": 3}
SMALL = {"height": 16, "width": 16}
MIDDLE = (0.25, 0.75)


def words(pipe):
    return pipe, SMALL


SDXL_WAYS = [words, image_to_image, inpainting, one_controlnet, t2i_adapter_pipeline]
SD15_WAYS = [sd15_text_to_image, sd15_image_to_image]


@pytest.fixture
def around(styled, tokenizer_folder, image_encoder):
    """What makes an `InstantStyle` and its call's arguments, in a way of using either family.

    In float64: how a batch is cut changes the rounding, which guidance enlarges.
    """

    def made(way):
        pipe = make_sd15(tokenizer_folder) if way in SD15_WAYS else styled.pipe
        guest, told = way(pipe)
        guest.set_progress_bar_config(disable=True)
        if way in SDXL_WAYS:
            return styled.with_pipeline(guest.to(torch.float64)), told
        state = {
            "image_proj": base_projection(),
            "ip_adapter": layer_weights(cross_attention_layers(pipe.unet)),
        }
        return InstantStyle(guest.to(torch.float64), adapter=state, image_encoder=image_encoder), told

    return made


def drawn(styled, **told):
    return styled("a", **{**FOUR, **SMALL, **told}).images


@pytest.fixture
def batches(styled):
    """How many latents the network sees at each step, as it draws."""
    return seen_by(styled.pipe.unet)


def seen_by(unet):
    seen = []
    unet.conv_in.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    return seen


def within(number, steps, interval):
    return interval[0] <= number / steps < interval[1]


def both_halves_as_the_prompt(interval, unet, steps):
    """The same by diffusers alone, with all the work: outside of it the prompt's half stands for both."""
    done = []

    def spread(_, given, answer):
        done.append(None)
        half = answer[0].chunk(2)[1]
        return answer if within(len(done) - 1, steps, interval) else (torch.cat([half, half]),)

    return unet.register_forward_hook(spread)


@pytest.mark.parametrize("way", SDXL_WAYS + SD15_WAYS)
@pytest.mark.parametrize("is_styled", [False, True], ids=["plain", "styled"])
def test_outside_of_the_interval_half_is_computed_and_the_picture_is_the_same(around, reference, way, is_styled):
    styled, told = around(way)
    style = {"style": reference, "blocks": "all"} if is_styled else {}
    given = {**FOUR, **told, **style, "num_images_per_prompt": 2}
    seen = seen_by(styled.pipe.unet)
    ours = styled("a", guidance_interval=MIDDLE, **given).images
    steps = len(seen)
    assert steps > 2
    assert seen == [4 if within(number, steps, MIDDLE) else 2 for number in range(steps)]
    assert len(set(seen)) == 2
    throughout = styled("a", **given).images
    hook = both_halves_as_the_prompt(MIDDLE, styled.pipe.unet, steps)
    theirs = styled("a", **given).images
    hook.remove()
    assert ours.dtype == torch.float64
    assert_close(ours, theirs)
    assert not torch.allclose(ours, throughout, rtol=1e-2)


@pytest.mark.parametrize("interval", [None, (0, 1), (0.0, 1.0)])
def test_the_whole_interval_and_none_are_the_plain_call_bit_for_bit(styled, reference, batches, interval):
    plain = drawn(styled, style=reference)
    assert drawn(styled, style=reference, guidance_interval=interval).equal(plain)
    assert batches == [2] * 8


@pytest.mark.parametrize("point", [0.0, 0.5, 1.0])
def test_an_empty_interval_is_no_guidance_bit_for_bit(styled, reference, batches, point):
    ours = drawn(styled, style=reference, guidance_interval=(point, point))
    assert ours.equal(drawn(styled, style=reference, guidance_scale=1.0))
    assert batches == [1] * 8


def test_without_guidance_an_interval_changes_nothing(styled, batches):
    plain = drawn(styled, guidance_scale=1.0)
    assert drawn(styled, guidance_scale=1.0, guidance_interval=MIDDLE).equal(plain)
    assert batches == [1] * 8


@pytest.mark.parametrize(("scale", "halves"), [(1.0, 1), (5.0, 2)], ids=["without guidance", "with guidance"])
@pytest.mark.parametrize("steps", [1, 4])
def test_without_guidance_nothing_unconditional_is_computed(
    styled, reference, batches, monkeypatch, scale, halves, steps
):
    ink, texts, keys = styled.style(reference), [], []
    for encoder in (styled.pipe.text_encoder, styled.pipe.text_encoder_2):
        encoder.register_forward_pre_hook(lambda _, given: texts.append(len(given[0])))

    def watched(query, key, value, styles, mask=None):
        keys.extend([len(key), *(len(style_key) for style_key, *_ in styles)])
        return styled_attention(query, key, value, styles, mask)

    monkeypatch.setattr("instantstyle.core.attention_processor.styled_attention", watched)
    drawn(styled, negative_prompt="b", style=ink, guidance_scale=scale, num_inference_steps=steps)
    assert batches == [halves] * steps
    assert texts == [1] * 2 * halves, "two encoders, and the negative prompt only where it is drawn away from"
    styled_layers = 2
    assert keys == [halves] * steps * (len(styled.adapter.layers) + styled_layers)


def test_a_style_for_each_prompt_stays_with_its_prompt(around, reference):
    styled, _ = around(words)
    inks = [styled.style(reference), styled.style(reference.rotate(90))]
    given = {**FOUR, **SMALL, "blocks": "all", "guidance_interval": MIDDLE}
    both = styled(["a", "b"], style=inks, **given).images
    alone = [
        styled(prompt, style=ink, **{**given, "seed": seed}).images
        for prompt, ink, seed in zip("ab", inks, (3, 4), strict=True)
    ]
    assert_close(both, torch.cat(alone), rtol=1e-9, atol=1e-9)


def test_rescaled_guidance_stays_as_it_is(styled):
    ours = drawn(styled, guidance_interval=(0.0, 0.0), guidance_rescale=0.7)
    assert_close(ours, drawn(styled, guidance_scale=1.0), rtol=1e-4, atol=1e-5)


def test_a_masked_style_for_part_of_the_steps_goes_with_it(styled, reference, batches):
    mask = reference.convert("L")
    told = {"style": reference, "mask": mask, "start": 0.5, "guidance_interval": MIDDLE}
    assert drawn(styled, **told).isfinite().all()
    assert batches == [1, 2, 2, 1]


def test_a_callback_of_the_callers_own_sees_and_changes_what_it_ever_did(styled, batches):
    told = []

    def watch(pipe, step, timestep, tensors):
        told.append((step, len(tensors["prompt_embeds"]), pipe.guidance_scale))
        return {"latents": tensors["latents"] * 0.5}

    inputs = {"callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}
    ours = drawn(styled, guidance_interval=MIDDLE, callback_on_step_end=watch, **inputs)
    assert told == [(step, 2, 5.0) for step in range(4)]
    assert batches == [1, 2, 2, 1]
    assert not ours.equal(drawn(styled, guidance_interval=MIDDLE))


def test_guidance_may_still_be_changed_while_drawing(styled, batches):
    def soften(pipe, step, timestep, tensors):
        pipe._guidance_scale = 2.0
        return {}

    softened = drawn(styled, guidance_interval=(0.5, 1.0), callback_on_step_end=soften)
    assert softened.equal(drawn(styled, guidance_interval=(0.5, 1.0), guidance_scale=2.0))
    assert batches == [1, 1, 2, 2] * 2


def test_the_texts_keys_are_made_once_outside_as_inside(styled, reference):
    made = []
    for name, layer in styled.pipe.unet.named_modules():
        if name.startswith("up_blocks.0.attentions.1") and name.endswith("attn2.to_k"):
            layer.register_forward_hook(lambda layer, given, out: made.append(layer))
    drawn(styled, style=reference, guidance_interval=(0.5, 1.0))
    layers = len(set(made))
    assert layers == 2
    assert len(made) == 2 * layers, "once for the half, once for the whole"


def test_nothing_of_ours_is_left_in_the_pipeline(styled, reference):
    unet = styled.pipe.unet
    network, pipeline = dict(vars(unet)), set(vars(styled.pipe))
    drawn(styled)
    made_by_diffusers = set(vars(styled.pipe)) - pipeline
    drawn(styled, style=reference, guidance_interval=MIDDLE)
    assert vars(unet).keys() == network.keys()
    assert all(vars(unet)[name] is value for name, value in network.items())
    assert set(vars(styled.pipe)) == pipeline | made_by_diffusers
    assert styled.pipe.guidance_scale == 5.0


@pytest.mark.parametrize("interval", [(0.0, 0.5), (0.5, 1.0)], ids=["inside", "outside"])
def test_an_exception_while_drawing_leaves_no_trace(styled, interval):
    def stop(*_):
        raise KeyboardInterrupt

    hook = styled.pipe.unet.conv_out.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        drawn(styled, guidance_interval=interval)
    hook.remove()
    assert CALL not in vars(styled.pipe.unet)
    assert styled.pipe.guidance_scale == 5.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("in_place", [True, False])
def test_a_compiled_network_is_compiled_for_both_batches_and_no_more(styled, in_place):
    eager = drawn(styled, guidance_interval=MIDDLE)
    graphs = CompileCounter()
    if in_place:
        styled.pipe.unet.compile(backend=graphs)
    else:
        styled.pipe.unet = torch.compile(styled.pipe.unet, backend=graphs)
    compiled = vars(styled.pipe.unet).get(CALL)
    assert_close(drawn(styled, guidance_interval=MIDDLE), eager, rtol=1e-4, atol=1e-5)
    first = graphs.frame_count
    assert first == 2
    drawn(styled, guidance_interval=(0.5, 0.9))
    assert graphs.frame_count == first
    assert vars(styled.pipe.unet).get(CALL) is compiled


@pytest.mark.parametrize(
    "interval",
    [(0.8, 0.2), (-0.1, 1), (0, 1.1), (0.5,), (0, 0.5, 1), "0:1", 0.5, (float("nan"), 1), ("0", 1)],
)
def test_what_is_no_interval_is_refused_with_one_that_is(pipe, interval):
    with pytest.raises(JobError, match=r"guidance_interval is .*0 ≤ start ≤ end ≤ 1, such as \(0\.2, 0\.8\)"):
        limit_guidance(pipe, interval)


def test_it_is_refused_before_any_reference_is_seen(styled):
    with pytest.raises(JobError, match=r"guidance_interval is \(0\.8, 0\.2\)"):
        drawn(styled, style="nowhere.png", guidance_interval=(0.8, 0.2))


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        (StableDiffusionInstructPix2PixPipeline, "image_guidance_scale"),
        (StableDiffusionXLPAGPipeline, "pag_scale"),
    ],
)
def test_pipelines_whose_batches_have_three_parts_are_refused(kind, by):
    with pytest.raises(ModelError, match=f"{kind.__name__} has the argument {by}"):
        limit_guidance(object.__new__(kind), MIDDLE)


def test_pipelines_that_keep_their_guidance_elsewhere_are_refused():
    class Other:
        def __call__(self, prompt): ...

    other: Any = Other()
    with pytest.raises(ModelError, match="does not keep its guidance scale"):
        limit_guidance(other, MIDDLE)


@pytest.mark.parametrize(
    "kind",
    [
        StableDiffusionPipeline,
        StableDiffusionImg2ImgPipeline,
        StableDiffusionInpaintPipeline,
        StableDiffusionControlNetPipeline,
        StableDiffusionXLPipeline,
        StableDiffusionXLImg2ImgPipeline,
        StableDiffusionXLInpaintPipeline,
        StableDiffusionXLControlNetPipeline,
        StableDiffusionXLControlNetImg2ImgPipeline,
        StableDiffusionXLAdapterPipeline,
    ],
)
def test_diffusers_still_asks_its_private_scale_whether_to_guide(kind):
    """The one private name of diffusers that guidance.py leans on."""
    pipe = object.__new__(kind)
    vars(pipe)["unet"] = nn.Module()
    pipe.unet.config = type("Config", (), {"time_cond_proj_dim": None})
    told = []
    for scale in (5.0, 1.0):
        vars(pipe)[SCALE] = scale
        told.append((pipe.do_classifier_free_guidance, pipe.guidance_scale))
    assert told == [(True, 5.0), (False, 1.0)]


def test_torch_still_calls_what_stands_before_a_network():
    """The one private name of torch."""
    network = nn.Identity()
    assert getattr(network, CALL) is None
    vars(network)[CALL] = lambda x: x + 1
    assert network(1) == 2
