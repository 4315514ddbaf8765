"""Outside of the guidance interval half of the batch is computed, with equal results; the pipeline is restored."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import (
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionXLPAGPipeline,
)
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.testing import assert_close

from instantstyle import InstantStyle, JobError, ModelError
from instantstyle.core.adapter_layers import cross_attention_layers
from instantstyle.core.guidance_interval import validate_interval
from instantstyle.core.styled_network import CALL
from instantstyle.errors import RequestWarning

from ..conftest import base_projection, layer_weights, make_shallow
from ..parity.test_other_pipelines import (
    image_to_image,
    inpainting,
    make_sd15,
    one_controlnet,
    sd15_image_to_image,
    sd15_text_to_image,
    t2i_adapter_pipeline,
)

FOUR_STEPS = {"num_inference_steps": 4, "output_type": "latent", "guidance_scale": 5.0, "seed": 3}
SMALL = {"height": 16, "width": 16}
MIDDLE_HALF = (0.25, 0.75)


def text_to_image(pipe):
    return pipe, SMALL


SDXL_SETUPS = [text_to_image, image_to_image, inpainting, one_controlnet, t2i_adapter_pipeline]
SD15_SETUPS = [sd15_text_to_image, sd15_image_to_image]


@pytest.fixture
def make_setup(styled, tokenizer_folder, image_encoder):
    """Return a function that makes an `InstantStyle` and the arguments of its call for a pipeline of either family.

    It computes in float64: the size of a batch changes the rounding, which guidance amplifies.
    """

    def make(setup):
        pipe = make_sd15(tokenizer_folder) if setup in SD15_SETUPS else styled.pipe
        other_pipe, inputs = setup(pipe)
        other_pipe.set_progress_bar_config(disable=True)
        if setup in SDXL_SETUPS:
            return styled.with_pipeline(other_pipe.to(torch.float64)), inputs
        state = {
            "image_proj": base_projection(),
            "ip_adapter": layer_weights(cross_attention_layers(pipe.unet)),
        }
        return InstantStyle(other_pipe.to(torch.float64), adapter=state, image_encoder=image_encoder), inputs

    return make


def generate(styled, **inputs):
    return styled("a", **{**FOUR_STEPS, **SMALL, **inputs}).images


@pytest.fixture
def batch_sizes(styled):
    """Record the batch size of the UNet at each step."""
    return record_batch_sizes(styled.pipe.unet)


def record_batch_sizes(unet):
    sizes = []
    unet.conv_in.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    return sizes


def is_within(number, steps, interval):
    return interval[0] <= number / steps < interval[1]


def duplicate_conditional_half(interval, unet, steps):
    """Compute full batches, and use the conditional half for both halves outside of the interval."""
    done = []

    def duplicate(_, inputs, output):
        done.append(None)
        half = output[0].chunk(2)[1]
        return output if is_within(len(done) - 1, steps, interval) else (torch.cat([half, half]),)

    return unet.register_forward_hook(duplicate)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("setup", SDXL_SETUPS + SD15_SETUPS)
@pytest.mark.parametrize("is_styled", [False, True], ids=["plain", "styled"])
def test_outside_of_the_interval_only_the_conditional_half_is_computed_with_equal_results(
    make_setup, reference, setup, is_styled
):
    styled, inputs = make_setup(setup)
    style = {"style": reference, "blocks": "all"} if is_styled else {}
    arguments = {**FOUR_STEPS, **inputs, **style, "num_images_per_prompt": 2}
    sizes = record_batch_sizes(styled.pipe.unet)
    ours = styled("a", guidance_interval=MIDDLE_HALF, **arguments).images
    steps = len(sizes)
    assert steps > 2
    assert sizes == [4 if is_within(number, steps, MIDDLE_HALF) else 2 for number in range(steps)]
    assert len(set(sizes)) == 2
    throughout = styled("a", **arguments).images
    hook = duplicate_conditional_half(MIDDLE_HALF, styled.pipe.unet, steps)
    theirs = styled("a", **arguments).images
    hook.remove()
    assert ours.dtype == torch.float64
    assert_close(ours, theirs)
    assert not torch.allclose(ours, throughout, rtol=1e-2)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("interval", [None, (0, 1), (0.0, 1.0)])
def test_the_full_interval_and_none_equal_the_plain_call_bit_for_bit(styled, reference, batch_sizes, interval):
    plain = generate(styled, style=reference)
    assert generate(styled, style=reference, guidance_interval=interval).equal(plain)
    assert batch_sizes == [2] * 8


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("point", [0.0, 0.5, 1.0])
def test_an_empty_interval_equals_no_guidance_bit_for_bit(styled, reference, batch_sizes, point):
    ours = generate(styled, style=reference, guidance_interval=(point, point))
    assert ours.equal(generate(styled, style=reference, guidance_scale=1.0))
    assert batch_sizes == [1] * 8


@pytest.mark.usefixtures("own_pipe")
def test_without_guidance_an_interval_changes_nothing(styled, batch_sizes):
    plain = generate(styled, guidance_scale=1.0)
    with pytest.warns(RequestWarning, match=r"guidance_interval has no effect without guidance\. Pass a guid"):
        held = generate(styled, guidance_scale=1.0, guidance_interval=MIDDLE_HALF)
    assert held.equal(plain)
    assert batch_sizes == [1] * 8


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.filterwarnings("ignore:negative_prompt has no effect")
@pytest.mark.parametrize(("scale", "halves"), [(1.0, 1), (5.0, 2)], ids=["without guidance", "with guidance"])
@pytest.mark.parametrize("steps", [1, 4])
def test_without_guidance_nothing_unconditional_is_computed(
    styled, reference, batch_sizes, monkeypatch, scale, halves, steps
):
    ink, texts, keys = styled.style(reference), [], []
    for encoder in (styled.pipe.text_encoder, styled.pipe.text_encoder_2):
        encoder.register_forward_pre_hook(lambda _, inputs: texts.append(len(inputs[0])))

    def recording(query, key, value, **arguments):
        is_cross_attention = key.shape[-2] in (words, tokens) and query.shape[-2] != key.shape[-2]
        keys.extend([len(key)] * is_cross_attention)
        return attend(query, key, value, **arguments)

    words, tokens, attend = styled.pipe.tokenizer.model_max_length, 4, F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", recording)
    no_layer_has_four_pixels = {"height": 24, "width": 24}
    generate(
        styled,
        negative_prompt="b",
        style=ink,
        guidance_scale=scale,
        num_inference_steps=steps,
        **no_layer_has_four_pixels,
    )
    assert batch_sizes == [halves] * steps
    assert texts == [1] * 2 * halves, "two encoders; the negative prompt is encoded only with guidance"
    styled_layers = 2
    assert keys == [halves] * steps * (len(styled.adapter.layers) + styled_layers)


@pytest.mark.usefixtures("own_pipe")
def test_each_prompt_keeps_its_own_style(make_setup, reference):
    styled, _ = make_setup(text_to_image)
    inks = [styled.style(reference), styled.style(reference.rotate(90))]
    arguments = {**FOUR_STEPS, **SMALL, "blocks": "all", "guidance_interval": MIDDLE_HALF}
    both = styled(["a", "b"], style=inks, **arguments).images
    alone = [
        styled(prompt, style=ink, **{**arguments, "seed": seed}).images
        for prompt, ink, seed in zip("ab", inks, (3, 4), strict=True)
    ]
    assert_close(both, torch.cat(alone), rtol=1e-9, atol=1e-9)


def test_guidance_rescale_has_no_effect_outside_of_the_interval(styled):
    ours = generate(styled, guidance_interval=(0.0, 0.0), guidance_rescale=0.7)
    assert_close(ours, generate(styled, guidance_scale=1.0), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("own_pipe")
def test_an_interval_works_with_a_masked_style_for_part_of_the_steps(styled, reference, batch_sizes):
    mask = reference.convert("L")
    inputs = {"style": reference, "mask": mask, "start": 0.5, "guidance_interval": MIDDLE_HALF}
    masked = generate(styled, **inputs)
    assert batch_sizes == [1, 2, 2, 1]
    assert not masked.equal(generate(styled, **{**inputs, "mask": None}))
    assert not masked.equal(generate(styled, guidance_interval=MIDDLE_HALF))


@pytest.mark.usefixtures("own_pipe")
def test_a_callback_sees_both_halves_and_can_change_latents(styled, batch_sizes):
    calls = []

    def record(pipe, step, timestep, tensors):
        calls.append((step, len(tensors["prompt_embeds"]), pipe.guidance_scale))
        return {"latents": tensors["latents"] * 0.5}

    inputs = {"callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}
    ours = generate(styled, guidance_interval=MIDDLE_HALF, callback_on_step_end=record, **inputs)
    assert calls == [(step, 2, 5.0) for step in range(4)]
    assert batch_sizes == [1, 2, 2, 1]
    assert not ours.equal(generate(styled, guidance_interval=MIDDLE_HALF))


@pytest.mark.usefixtures("own_pipe")
def test_a_callback_can_change_the_guidance_scale(styled, batch_sizes):
    def soften(pipe, step, timestep, tensors):
        pipe._guidance_scale = 2.0
        return {}

    softened = generate(styled, guidance_interval=(0.5, 1.0), callback_on_step_end=soften)
    assert softened.equal(generate(styled, guidance_interval=(0.5, 1.0), guidance_scale=2.0))
    assert batch_sizes == [1, 1, 2, 2] * 2


def test_text_keys_are_computed_once_inside_and_once_outside_of_the_interval(styled, reference, monkeypatch):
    """Calls of `F.linear` are counted: with a hook on the layers nothing would be cached."""
    modules = styled.pipe.unet.named_modules()
    named = ((name, layer) for name, layer in modules if name.startswith("up_blocks.0.attentions.1"))
    weights = [layer.weight for name, layer in named if name.endswith("attn2.to_k")]
    computed, linear = [], torch.nn.functional.linear

    def counting(inputs, weight, bias=None):
        computed.extend(each for each in weights if each is weight)
        return linear(inputs, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", counting)
    generate(styled, style=reference, guidance_interval=(0.5, 1.0))
    assert len(weights) == 2
    assert len(computed) == 2 * len(weights), "once for half of the batch, once for all of it"


def test_unet_and_pipeline_are_unchanged_after_a_call(styled, reference):
    unet = styled.pipe.unet
    network, pipeline = dict(vars(unet)), set(vars(styled.pipe))
    generate(styled)
    made_by_diffusers = set(vars(styled.pipe)) - pipeline
    generate(styled, style=reference, guidance_interval=MIDDLE_HALF)
    assert vars(unet).keys() == network.keys()
    assert all(vars(unet)[name] is value for name, value in network.items())
    assert set(vars(styled.pipe)) == pipeline | made_by_diffusers
    assert styled.pipe.guidance_scale == 5.0


@pytest.mark.parametrize("interval", [(0.0, 0.5), (0.5, 1.0)], ids=["inside", "outside"])
def test_unet_and_guidance_scale_are_restored_after_an_exception(styled, interval):
    def stop(*_):
        raise KeyboardInterrupt

    hook = styled.pipe.unet.conv_out.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        generate(styled, guidance_interval=interval)
    hook.remove()
    assert CALL not in vars(styled.pipe.unet)
    assert styled.pipe.guidance_scale == 5.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("in_place", [True, False])
def test_a_compiled_unet_is_compiled_once_for_each_batch_size(tokenizer_folder, in_place):
    styled: Any = make_shallow(tokenizer_folder)
    eager = generate(styled, guidance_interval=MIDDLE_HALF)
    graphs = CompileCounter()
    if in_place:
        styled.pipe.unet.compile(backend=graphs)
    else:
        styled.pipe.unet = torch.compile(styled.pipe.unet, backend=graphs)
    compiled = vars(styled.pipe.unet).get(CALL)
    assert_close(generate(styled, guidance_interval=MIDDLE_HALF), eager, rtol=1e-4, atol=1e-5)
    first = graphs.frame_count
    assert first == 2
    generate(styled, guidance_interval=(0.5, 0.9))
    assert graphs.frame_count == first
    assert vars(styled.pipe.unet).get(CALL) is compiled


@pytest.mark.parametrize(
    "interval",
    [(0.8, 0.2), (-0.1, 1), (0, 1.1), (0.5,), (0, 0.5, 1), "0:1", 0.5, (float("nan"), 1), ("0", 1)],
)
def test_an_invalid_interval_raises_an_error_with_an_example(pipe, interval):
    with pytest.raises(JobError, match=r"guidance_interval is .*0 ≤ start ≤ end ≤ 1, such as \(0\.2, 0\.8\)"):
        validate_interval(pipe, interval)


def test_an_invalid_interval_is_refused_before_references_are_encoded(styled):
    with pytest.raises(JobError, match=r"guidance_interval is \(0\.8, 0\.2\)"):
        generate(styled, style="nowhere.png", guidance_interval=(0.8, 0.2))


@pytest.mark.parametrize("pipeline_class", [StableDiffusionInstructPix2PixPipeline, StableDiffusionXLPAGPipeline])
def test_pipelines_with_three_part_batches_are_refused(pipeline_class):
    with pytest.raises(ModelError, match=f"{pipeline_class.__name__} has other parts than an unconditional"):
        validate_interval(object.__new__(pipeline_class), MIDDLE_HALF)


def test_pipelines_whose_batches_are_not_known_are_refused():
    class Other:
        def __call__(self, prompt): ...

    other: Any = Other()
    with pytest.raises(ModelError, match="The batches of Other are not known"):
        validate_interval(other, MIDDLE_HALF)
    assert validate_interval(other, MIDDLE_HALF, ("unconditional", "conditional")) == MIDDLE_HALF


def test_torch_calls_the_compiled_call_of_a_module():
    """`injection.py` relies on this private name of torch, and on no other."""
    network = nn.Identity()
    assert getattr(network, CALL) is None
    vars(network)[CALL] = lambda x: x + 1
    assert network(1) == 2
