"""Our latents against diffusers' own IP-Adapter path, on the same weights."""

import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from transformers import CLIPImageProcessorPil

from instantstyle import InstantStyle

from ..conftest import full_projection, layer_weights, make_pipe, plus_projection
from .theirs import SCALES, adapted, generators


def diffusers_latents(folder, state, image_encoder, picture, scale, seeds=(3,), **arguments):
    pipe = adapted(make_pipe(folder), state, image_encoder, scale)
    return pipe("a", ip_adapter_image=picture, generator=generators(*seeds), **arguments).images


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["unguided", "guided"])
@pytest.mark.parametrize("blocks", SCALES)
def test_latents_equal_those_of_diffusers_own_adapter(
    tokenizer_folder, styled, state, image_encoder, reference, short, blocks, guidance
):
    both = {**short, "guidance_scale": guidance, "num_images_per_prompt": 2}
    theirs = diffusers_latents(
        tokenizer_folder, state, image_encoder, reference, SCALES[blocks], seeds=(3, 4), **both
    )
    ours = styled("a", style=reference, blocks=blocks, seed=3, **both).images
    plain = styled("a", seed=3, **both).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, plain, rtol=1e-2)


@pytest.mark.parametrize("projection", [plus_projection, full_projection], ids=["plus", "full"])
def test_adapters_on_patch_features_equal_diffusers_too(
    tokenizer_folder, pipe, layers, image_encoder, reference, short, projection
):
    state = {"image_proj": projection(), "ip_adapter": layer_weights(layers)}
    theirs = diffusers_latents(tokenizer_folder, state, image_encoder, reference, 0.7, **short)
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    ours = styled("a", style=reference, blocks="all", scale=0.7, seed=3, **short).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_pixels_equal_those_of_transformers_own_processor(styled, reference):
    size = styled.image_encoder.image_size
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    theirs = processor(reference, return_tensors="pt").pixel_values
    assert_close(styled.image_encoder.pixels([reference]), theirs, rtol=0, atol=1e-5)


def test_content_removal_equals_subtraction_done_by_hand(
    tokenizer_folder, styled, state, image_encoder, reference, short
):
    ids = styled.pipe.tokenizer_2("a cat", padding="max_length", return_tensors="pt", max_length=77).input_ids
    with torch.no_grad():
        words = styled.pipe.text_encoder_2(ids).text_embeds
    by_hand = styled.image_encoder.embed([reference]) - 0.5 * words
    embeds = torch.stack([torch.zeros_like(by_hand), by_hand])
    theirs = diffusers_latents(
        tokenizer_folder,
        state,
        image_encoder,
        None,
        SCALES["style"],
        ip_adapter_image_embeds=[embeds],
        **short,
    )
    ours = styled("a", style=reference, content="a cat", seed=3, **short).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_several_references_side_by_side_equal_diffusers_list_of_images(
    tokenizer_folder, styled, state, image_encoder, reference, short
):
    pictures = [reference, reference.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    theirs = diffusers_latents(tokenizer_folder, state, image_encoder, [pictures], SCALES["all"], **short)
    ours = styled("a", style=styled.style(pictures, combine="concat"), blocks="all", seed=3, **short).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_masked_style_equals_diffusers(tokenizer_folder, styled, state, image_encoder, reference, short):
    """On a mask whose edges lie between pixels at every resolution: we average, they interpolate."""
    wide = {**short, "height": 32, "width": 32}
    left = torch.zeros(1, 1, 256, 256)
    left[..., :128] = 1.0
    masks = {"ip_adapter_masks": [left]}
    theirs = diffusers_latents(
        tokenizer_folder,
        state,
        image_encoder,
        [[reference]],
        SCALES["all"],
        cross_attention_kwargs=masks,
        **wide,
    )
    ours = styled("a", style=reference, blocks="all", mask=left[0, 0], seed=3, **wide).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
