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


def same(these, those):
    return len(these) == len(those) and all(this is that for this, that in zip(these, those, strict=True))


def test_without_style_it_is_diffusers_bit_for_bit(styled, short):
    theirs = styled.pipe("a", generator=generator(42), **short).images
    assert styled("a", seed=42, **short).images.equal(theirs)


def test_a_style_changes_the_picture_and_leaves_no_trace(styled, reference, short):
    before = styled.pipe("a", generator=generator(1), **short).images
    found = processors(styled.pipe)
    assert not styled("a", style=reference, seed=1, **short).images.equal(before)
    assert same(processors(styled.pipe), found)
    assert styled.pipe("a", generator=generator(1), **short).images.equal(before)


def test_scale_zero_is_the_plain_picture_bit_for_bit(styled, reference, short):
    plain = styled("a", seed=1, **short).images
    assert styled("a", style=reference, scale=0.0, seed=1, **short).images.equal(plain)


def test_a_scale_changed_and_put_back_gives_the_same_bits(styled, reference, short):
    ink = styled.style(reference)
    first = styled("a", style=ink, scale=0.8, seed=1, **short).images
    styled("a", style=ink, scale=0.2, seed=1, **short)
    assert styled("a", style=ink, scale=0.8, seed=1, **short).images.equal(first)


def test_an_exception_while_drawing_leaves_no_trace(styled, reference, short):
    def stop(*_):
        raise KeyboardInterrupt

    before, found = styled.pipe("a", generator=generator(1), **short).images, processors(styled.pipe)
    with pytest.raises(KeyboardInterrupt):
        styled("a", style=reference, callback_on_step_end=stop, **short)
    assert same(processors(styled.pipe), found)
    assert styled.pipe("a", generator=generator(1), **short).images.equal(before)


def test_the_plain_pipeline_is_styled_inside_the_with_block_only(styled, reference, short):
    ink, found = styled.style(reference), processors(styled.pipe)
    plain = styled.pipe("a", generator=generator(1), **short).images
    called = styled("a", style=ink, scale=0.8, seed=1, **short).images
    with styled.using(ink, scale=0.8) as pipe:
        assert pipe is styled.pipe
        assert pipe("a", generator=generator(1), **short).images.equal(called)
    assert same(processors(styled.pipe), found)
    assert styled.pipe("a", generator=generator(1), **short).images.equal(plain)


def test_with_blocks_nest_for_the_style_of_one_and_the_layout_of_another(styled, reference, short):
    ink = styled.style(reference)
    both = styled("a", style=ink, blocks="style+layout", seed=1, **short).images
    with styled.using(ink, blocks="style"), styled.using(ink, blocks="layout"):
        assert styled.pipe("a", generator=generator(1), **short).images.equal(both)


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["unguided", "guided"])
def test_a_picture_is_the_same_alone_and_in_a_batch(styled, reference, short, guidance):
    arguments = {**short, "style": reference, "content": "a cat", "guidance_scale": guidance}
    batch = styled(["a", "b"], seed=7, num_images_per_prompt=2, **arguments).images
    alone = [styled(prompt, seed=seed, **arguments).images for seed, prompt in enumerate("aabb", start=7)]
    assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_prompt_embeddings_count_as_prompts(styled, short):
    embeds = torch.randn(2, 77, 32)
    pooled = torch.randn(2, 24)
    drawn = styled(prompt_embeds=embeds, pooled_prompt_embeds=pooled, guidance_scale=1.0, seed=1, **short).images
    alone = styled(
        prompt_embeds=embeds[1:], pooled_prompt_embeds=pooled[1:], guidance_scale=1.0, seed=2, **short
    ).images
    assert_close(drawn[1:], alone, rtol=1e-4, atol=1e-5)


def test_without_a_seed_each_call_draws_anew(styled, short):
    assert not styled("a", **short).images.equal(styled("a", **short).images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_halves_draw_finite_pictures_near_the_full_ones(styled, reference, short, dtype):
    ink = styled.style(reference, content="a cat")
    full = styled("a", style=ink, seed=1, **short).images
    styled.pipe.to(dtype)
    half = styled("a", style=ink, seed=1, **short).images
    assert half.dtype == dtype
    assert half.isfinite().all()
    assert_close(half.float(), full, rtol=0.1, atol=0.2)


def test_guidance_may_be_switched_off_while_drawing(styled, reference, short):
    def unguide(pipe, step, timestep, tensors):
        pipe._guidance_scale = 1.0
        return {name: tensor.chunk(2)[-1] for name, tensor in tensors.items() if name != "latents"}

    inputs = ["latents", "prompt_embeds", "add_text_embeds", "add_time_ids"]
    switching = {"callback_on_step_end": unguide, "callback_on_step_end_tensor_inputs": inputs}
    drawn = styled("a", style=reference, guidance_scale=5.0, seed=1, **switching, **short).images
    assert drawn.isfinite().all()


def test_removing_content_changes_the_picture_by_either_way(styled, reference, short):
    arms = [
        {},
        {"content": "a cat"},
        {"content": ["a cat", "a mat"]},
        {"content": "a cat", "removal": "project"},
    ]
    drawn = [styled("a", style=reference, seed=1, **arm, **short).images for arm in arms]
    assert len({tuple(picture.flatten().tolist()) for picture in drawn}) == len(arms)


def test_a_ready_styles_content_stands_unless_the_call_says_otherwise(styled, reference, short):
    cat = styled.style(reference, content="a cat", content_scale=0.5)
    drawn = styled("a", style=cat, seed=1, **short).images
    assert drawn.equal(styled("a", style=reference, content="a cat", content_scale=0.5, seed=1, **short).images)
    assert not drawn.equal(styled("a", style=cat, content_scale=0.1, seed=1, **short).images)


def test_several_references_make_one_style_in_any_order(styled, reference):
    other = reference.rotate(90)
    these, those = (
        styled.style([reference, other], weights=[3.0, 1.0]),
        styled.style([other, reference], weights=[1.0, 3.0]),
    )
    assert_close(these.embedding(), those.embedding())


def test_a_style_is_named_after_its_file(styled, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    assert repr(styled.style(tmp_path / "ink.png", content="a cat")) == 'Style(ink.png − "a cat" × 0.5, CLIP-24)'


def test_defaults_hold_where_the_caller_gives_none(pipe, state, image_encoder, short):
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
def test_arguments_that_mean_nothing_are_errors(styled, short, arguments, error, message):
    with pytest.raises(error, match=message):
        styled("a", **arguments, **short)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"removal": "magic"}, StyleError), ({"crop": "centre"}, ImageError), ({"style": []}, StyleError)],
)
def test_styles_that_cannot_be_made_are_errors(styled, reference, short, arguments, error):
    with pytest.raises(error):
        styled("a", **{"style": reference, **arguments}, **short)


def test_content_cannot_be_removed_with_a_plus_adapter(pipe, layers, image_encoder, reference):
    state = {"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    with pytest.raises(StyleError, match="patch features"):
        styled.style(reference, content="a cat")


def test_removal_without_the_shared_text_tower_says_which_to_get(pipe, state, image_encoder, reference):
    pipe.text_encoder_2 = None
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    with pytest.raises(StyleError, match=r"of width 24, and the pipeline has none\. Pass text_encoder="):
        styled.style(reference, content="a cat")


def test_a_text_encoder_given_by_the_caller_is_used(pipe, state, image_encoder, reference):
    tower, pipe.text_encoder_2 = pipe.text_encoder_2, None
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder, text_encoder=(tower, pipe.tokenizer_2))
    embeds = styled.style(reference, content="a cat").content_embeds
    assert embeds is not None
    assert embeds.shape == (1, 24)


def test_an_image_encoder_of_another_width_is_refused_with_both(pipe, state):
    with pytest.raises(CheckpointError, match="of width 24; the image encoder has width 12"):
        InstantStyle(pipe, adapter=state, image_encoder=make_image_encoder(projection=12))


def test_a_pipeline_without_a_unet_is_refused(state, image_encoder):
    pipe: Any = object()
    with pytest.raises(ModelError, match="no UNet"):
        InstantStyle(pipe, adapter=state, image_encoder=image_encoder)


def test_an_image_encoder_is_needed(pipe, state):
    with pytest.raises(ModelError, match="image_encoder="):
        InstantStyle(pipe, adapter=state)


def test_a_network_that_carries_diffusers_own_adapter_is_refused(styled, state, reference):
    styled.pipe.load_ip_adapter(
        state, subfolder=None, weight_name=None, image_encoder_folder=None, low_cpu_mem_usage=False
    )
    ink = Style(torch.zeros(1, 24), torch.zeros(24))
    with pytest.raises(StyleError, match="unload_ip_adapter"), styled.using(ink):
        pass


def test_sums_too_large_for_halves_still_make_finite_tokens(styled, state, image_encoder, reference):
    """A projection computed in halves overflows at 65,504; ours is made in float32, whatever the file."""
    weight = (state["image_proj"]["proj.weight"] * 30_000).clamp(-60_000, 60_000).half()
    loud = {"image_proj": {**state["image_proj"], "proj.weight": weight}, "ip_adapter": state["ip_adapter"]}
    other = InstantStyle(styled.pipe.to(torch.float16), adapter=loud, image_encoder=image_encoder)
    style = other.style(reference)
    assert (10 * style.embedding() @ weight.float().mT).abs().max() > 65_504
    tokens = other.adapter.tokens(replace(style, image_embeds=10 * style.image_embeds))
    assert tokens.half().isfinite().all()


def test_a_vae_that_must_not_decode_in_halves_does_not(styled, reference, short):
    """As SDXL's own says of itself (force_upcast); afterwards it is what it was."""
    styled.pipe.to(torch.float16)
    styled.pipe.vae.register_to_config(force_upcast=True)
    seen = []
    hook = styled.pipe.vae.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    with pytest.warns(FutureWarning, match="upcast_vae"):  # diffusers' word about a call of its own
        styled("a", style=reference, seed=1, **{**short, "output_type": "pil"})
    hook.remove()
    assert seen == [torch.float32]
    assert styled.pipe.vae.dtype == torch.float16
