"""Latents equal those of diffusers' own IP-Adapter path with the same weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from instantstyle import InstantStyle

from ..conftest import full_projection, layer_weights, make_pipe, plus_projection
from .diffusers_path import SCALES, load_adapter, seeded_generators


def generate_with_diffusers(
    folder: Path,
    state: dict[str, dict[str, torch.Tensor]],
    image_encoder: CLIPVisionModelWithProjection,
    image: Any,
    scale: Any,
    seeds: tuple[int, ...] = (3,),
    **arguments: Any,
) -> torch.Tensor:
    pipe = load_adapter(make_pipe(folder), state, image_encoder, scale)
    return pipe("a", ip_adapter_image=image, generator=seeded_generators(*seeds), **arguments).images


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["unguided", "guided"])
@pytest.mark.parametrize("blocks", SCALES)
def test_latents_equal_those_of_diffusers_own_adapter(
    tokenizer_folder, styled, state, image_encoder, reference, short, blocks, guidance
):
    arguments = {**short, "guidance_scale": guidance, "num_images_per_prompt": 2}
    theirs = generate_with_diffusers(
        tokenizer_folder, state, image_encoder, reference, SCALES[blocks], seeds=(3, 4), **arguments
    )
    ours = styled("a", style=reference, blocks=blocks, seed=3, **arguments).images
    plain = styled("a", seed=3, **arguments).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, plain, rtol=1e-2)


@pytest.mark.parametrize("projection", [plus_projection, full_projection], ids=["plus", "full"])
def test_adapters_on_patch_features_equal_diffusers_too(
    tokenizer_folder, pipe, layers, image_encoder, reference, short, projection
):
    state = {"image_proj": projection(), "ip_adapter": layer_weights(layers)}
    theirs = generate_with_diffusers(tokenizer_folder, state, image_encoder, reference, 0.7, **short)
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
    theirs = generate_with_diffusers(
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


def test_concatenated_references_equal_diffusers_list_of_images(
    tokenizer_folder, styled, state, image_encoder, reference, short
):
    images = [reference, reference.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    theirs = generate_with_diffusers(tokenizer_folder, state, image_encoder, [images], SCALES["all"], **short)
    ours = styled("a", style=styled.style(images, combine="concat"), blocks="all", seed=3, **short).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_masked_style_equals_diffusers(tokenizer_folder, styled, state, image_encoder, reference, short):
    """The mask's edges lie between pixels at every resolution: averaging and interpolation agree there."""
    arguments = {**short, "height": 32, "width": 32}
    left = torch.zeros(1, 1, 256, 256)
    left[..., :128] = 1.0
    masks = {"ip_adapter_masks": [left]}
    theirs = generate_with_diffusers(
        tokenizer_folder,
        state,
        image_encoder,
        [[reference]],
        SCALES["all"],
        cross_attention_kwargs=masks,
        **arguments,
    )
    ours = styled("a", style=reference, blocks="all", mask=left[0, 0], seed=3, **arguments).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
