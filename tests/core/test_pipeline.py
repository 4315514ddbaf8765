"""Calls of `InstantStyle`: equality with diffusers, seeds, dtypes, restored state and errors."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from instantstyle import CheckpointError, ImageError, InstantStyle, JobError, ModelError, Style, StyleError

from ..conftest import layer_weights, make_image_encoder, plus_projection


def generator(seed):
    return torch.Generator().manual_seed(seed)


def processors(pipe):
    return list(pipe.unet.attn_processors.values())


def are_identical(forward, backward):
    return len(forward) == len(backward) and all(this is that for this, that in zip(forward, backward, strict=True))


def test_without_a_style_images_equal_diffusers_bit_for_bit(styled, short):
    theirs = styled.pipe("a", generator=generator(42), **short).images
    assert styled("a", seed=42, **short).images.equal(theirs)


def test_a_style_changes_the_image_but_not_the_pipeline(styled, reference, short):
    before = styled.pipe("a", generator=generator(1), **short).images
    original = processors(styled.pipe)
    assert not styled("a", style=reference, seed=1, **short).images.equal(before)
    assert are_identical(processors(styled.pipe), original)
    assert styled.pipe("a", generator=generator(1), **short).images.equal(before)


def test_scale_zero_equals_the_plain_image_bit_for_bit(styled, reference, short):
    plain = styled("a", seed=1, **short).images
    assert styled("a", style=reference, scale=0.0, seed=1, **short).images.equal(plain)


def test_a_call_with_another_scale_does_not_affect_later_calls(styled, reference, short):
    ink = styled.style(reference)
    first = styled("a", style=ink, scale=0.8, seed=1, **short).images
    styled("a", style=ink, scale=0.2, seed=1, **short)
    assert styled("a", style=ink, scale=0.8, seed=1, **short).images.equal(first)


def test_the_pipeline_is_restored_after_an_exception(styled, reference, short):
    def stop(*_):
        raise KeyboardInterrupt

    before, original = styled.pipe("a", generator=generator(1), **short).images, processors(styled.pipe)
    with pytest.raises(KeyboardInterrupt):
        styled("a", style=reference, callback_on_step_end=stop, **short)
    assert are_identical(processors(styled.pipe), original)
    assert styled.pipe("a", generator=generator(1), **short).images.equal(before)


def test_the_plain_pipeline_is_styled_only_inside_the_with_block(styled, reference, short):
    ink, original = styled.style(reference), processors(styled.pipe)
    plain = styled.pipe("a", generator=generator(1), **short).images
    called = styled("a", style=ink, scale=0.8, seed=1, **short).images
    with styled.using(ink, scale=0.8) as pipe:
        assert pipe is styled.pipe
        assert pipe("a", generator=generator(1), **short).images.equal(called)
    assert are_identical(processors(styled.pipe), original)
    assert styled.pipe("a", generator=generator(1), **short).images.equal(plain)


def test_nested_with_blocks_act_together(styled, reference, short):
    ink = styled.style(reference)
    both = styled("a", style=ink, blocks="style+layout", seed=1, **short).images
    with styled.using(ink, blocks="style"), styled.using(ink, blocks="layout"):
        assert styled.pipe("a", generator=generator(1), **short).images.equal(both)


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["unguided", "guided"])
def test_an_image_does_not_depend_on_its_batch(styled, reference, short, guidance):
    arguments = {**short, "style": reference, "content": "a cat", "guidance_scale": guidance}
    batch = styled(["a", "b"], seed=7, num_images_per_prompt=2, **arguments).images
    alone = [styled(prompt, seed=seed, **arguments).images for seed, prompt in enumerate("aabb", start=7)]
    assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_each_prompt_embedding_has_its_own_seed(styled, short):
    embeds = torch.randn(2, 77, 32)
    pooled = torch.randn(2, 24)
    images = styled(prompt_embeds=embeds, pooled_prompt_embeds=pooled, guidance_scale=1.0, seed=1, **short).images
    alone = styled(
        prompt_embeds=embeds[1:], pooled_prompt_embeds=pooled[1:], guidance_scale=1.0, seed=2, **short
    ).images
    assert_close(images[1:], alone, rtol=1e-4, atol=1e-5)


def test_without_a_seed_each_call_gives_another_image(styled, short):
    assert not styled("a", **short).images.equal(styled("a", **short).images)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_half_precision_is_finite_and_close_to_float32(styled, reference, short, dtype):
    ink = styled.style(reference, content="a cat")
    full = styled("a", style=ink, seed=1, **short).images
    styled.pipe.to(dtype)
    half = styled("a", style=ink, seed=1, **short).images
    assert half.dtype == dtype
    assert half.isfinite().all()
    assert_close(half.float(), full, rtol=0.1, atol=0.2)


def test_a_callback_can_disable_guidance(styled, reference, short):
    def disable_guidance(pipe, step, timestep, tensors):
        pipe._guidance_scale = 1.0
        return {name: tensor.chunk(2)[-1] for name, tensor in tensors.items() if name != "latents"}

    inputs = ["latents", "prompt_embeds", "add_text_embeds", "add_time_ids"]
    switching = {"callback_on_step_end": disable_guidance, "callback_on_step_end_tensor_inputs": inputs}
    call = dict(style=reference, guidance_scale=5.0, seed=1, **short)
    first_step = (0.0, 1 / short["num_inference_steps"])
    assert_close(styled("a", **switching, **call).images, styled("a", guidance_interval=first_step, **call).images)


def test_each_removal_of_content_changes_the_image(styled, reference, short):
    settings = [
        {},
        {"content": "a cat"},
        {"content": ["a cat", "a mat"]},
        {"content": "a cat", "removal": "project"},
    ]
    images = [styled("a", style=reference, seed=1, **arm, **short).images for arm in settings]
    assert len({tuple(image.flatten().tolist()) for image in images}) == len(settings)


def test_content_of_a_ready_style_applies_unless_the_call_overrides_it(styled, reference, short):
    cat = styled.style(reference, content="a cat", content_scale=0.5)
    images = styled("a", style=cat, seed=1, **short).images
    assert images.equal(styled("a", style=reference, content="a cat", content_scale=0.5, seed=1, **short).images)
    assert not images.equal(styled("a", style=cat, content_scale=0.1, seed=1, **short).images)


def test_the_order_of_references_does_not_change_the_embedding(styled, reference):
    other = reference.rotate(90)
    forward, backward = (
        styled.style([reference, other], weights=[3.0, 1.0]),
        styled.style([other, reference], weights=[1.0, 3.0]),
    )
    assert_close(forward.embedding(), backward.embedding())


def test_a_style_is_named_after_its_file(styled, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    assert repr(styled.style(tmp_path / "ink.png", content="a cat")) == 'Style(ink.png − "a cat" × 0.5, CLIP-24)'


def test_defaults_apply_where_the_call_sets_no_argument(pipe, state, image_encoder, short):
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder, defaults={**short, "guidance_scale": 1.0})
    assert styled("a", seed=1).images.equal(pipe("a", generator=generator(1), guidance_scale=1.0, **short).images)
    assert not styled("a", seed=1, guidance_scale=9.0).images.equal(styled("a", seed=1).images)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"num_inference_step": 3},
            JobError,
            r"no argument 'num_inference_step'\. Did you mean num_inference_steps\?",
        ),
        ({"contnt": "a cat"}, JobError, r"Did you mean content\?"),
        ({"kwargs": {}}, JobError, "no argument"),
        ({"seed": 1, "generator": torch.Generator()}, JobError, "exclude each other"),
        ({"seed": -1}, JobError, "whole number"),
        ({"num_images_per_prompt": 0}, JobError, "from 1"),
        ({"content": "a cat"}, StyleError, "style is None"),
    ],
)
def test_invalid_arguments_raise_an_error(styled, short, arguments, error, message):
    with pytest.raises(error, match=message):
        styled("a", **arguments, **short)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"removal": "magic"}, StyleError), ({"crop": "centre"}, ImageError), ({"style": []}, StyleError)],
)
def test_invalid_style_arguments_raise_an_error(styled, reference, short, arguments, error):
    with pytest.raises(error):
        styled("a", **{"style": reference, **arguments}, **short)


def test_removing_content_with_a_plus_adapter_raises_an_error(pipe, layers, image_encoder, reference):
    state = {"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    with pytest.raises(StyleError, match="patch features"):
        styled.style(reference, content="a cat")


@pytest.mark.usefixtures("own_pipe")
def test_removal_without_a_matching_text_encoder_names_the_one_needed(pipe, state, image_encoder, reference):
    pipe.text_encoder_2 = None
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    with pytest.raises(StyleError, match=r"of width 24, and the pipeline has none\. Pass text_encoder="):
        styled.style(reference, content="a cat")


@pytest.mark.usefixtures("own_pipe")
def test_a_text_encoder_that_is_passed_is_used(pipe, state, image_encoder, reference):
    encoder, pipe.text_encoder_2 = pipe.text_encoder_2, None
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder, text_encoder=(encoder, pipe.tokenizer_2))
    embeds = styled.style(reference, content="a cat").content_embeds
    assert embeds is not None
    assert embeds.shape == (1, 24)


def test_an_image_encoder_of_another_width_raises_an_error_with_both_widths(pipe, state):
    with pytest.raises(CheckpointError, match=r"of width 24; the image encoder \(a CLIP\) has width 12"):
        InstantStyle(pipe, adapter=state, image_encoder=make_image_encoder(projection=12))


def test_a_pipeline_without_a_unet_raises_an_error(state, image_encoder):
    pipe: Any = object()
    with pytest.raises(ModelError, match="no UNet"):
        InstantStyle(pipe, adapter=state, image_encoder=image_encoder)


def test_an_adapter_without_an_image_encoder_raises_an_error(pipe, state):
    with pytest.raises(ModelError, match="image_encoder="):
        InstantStyle(pipe, adapter=state)


@pytest.mark.usefixtures("own_pipe")
def test_a_unet_with_an_ip_adapter_of_diffusers_raises_an_error(styled, state, reference):
    styled.pipe.load_ip_adapter(
        state, subfolder=None, weight_name=None, image_encoder_folder=None, low_cpu_mem_usage=False
    )
    ink = Style(torch.zeros(1, 24), torch.zeros(24))
    with pytest.raises(StyleError, match="unload_ip_adapter"), styled.using(ink):
        pass


@pytest.mark.usefixtures("own_pipe")
def test_a_projection_that_overflows_float16_gives_finite_tokens(styled, state, image_encoder, reference):
    """The projection is computed in float32 for a file of any dtype; in float16 it would overflow at 65,504."""
    weight = (state["image_proj"]["proj.weight"] * 30_000).clamp(-60_000, 60_000).half()
    overflowing = {"image_proj": {**state["image_proj"], "proj.weight": weight}, "ip_adapter": state["ip_adapter"]}
    other = InstantStyle(styled.pipe.to(torch.float16), adapter=overflowing, image_encoder=image_encoder)
    style = other.style(reference)
    assert (10 * style.embedding() @ weight.float().mT).abs().max() > 65_504
    tokens = other.adapter.tokens(replace(style, image_embeds=10 * style.image_embeds))
    assert tokens.half().isfinite().all()


@pytest.mark.usefixtures("own_pipe")
def test_a_vae_with_force_upcast_decodes_in_float32(styled, reference, short):
    """SDXL's VAE has `force_upcast` set. Its dtype is restored after the call."""
    styled.pipe.to(torch.float16)
    styled.pipe.vae.register_to_config(force_upcast=True)
    dtypes = []
    hook = styled.pipe.vae.decoder.register_forward_pre_hook(lambda _, inputs: dtypes.append(inputs[0].dtype))
    with pytest.warns(FutureWarning, match="upcast_vae"):  # diffusers warns of a call in its own code.
        styled("a", style=reference, seed=1, **{**short, "output_type": "pil"})
    hook.remove()
    assert dtypes == [torch.float32]
    assert styled.pipe.vae.dtype == torch.float16
