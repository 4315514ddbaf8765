"""diffusers alone loads the files of the bundled model, and generates the same images."""

from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

import instantstyle
from instantstyle.models.registry import MINI_FOLDER
from instantstyle.synthetic import MINI_SCOPE, sample_scenes, to_pil_image

from ..helpers import seeded_generator

STEPS = {"num_inference_steps": 4, "guidance_scale": 3.0, "output_type": "latent"}


@pytest.fixture(scope="module")
def reference():
    return to_pil_image(sample_scenes(1, seeded_generator(5), MINI_SCOPE, held_out=True).render(64)[0])


@pytest.fixture(scope="module")
def mini():
    styled = instantstyle.load("mini", device="cpu")
    styled.pipe.to(torch.float32)
    styled.pipe.set_progress_bar_config(disable=True)
    return styled


@pytest.fixture(scope="module")
def diffusers_pipe():
    """Load model and adapter with diffusers alone."""
    encoder = CLIPVisionModelWithProjection.from_pretrained(MINI_FOLDER / "image_encoder", dtype=torch.float32)
    side: Any = encoder.config.image_size
    pipe = StableDiffusionXLPipeline.from_pretrained(
        MINI_FOLDER,
        image_encoder=encoder,
        feature_extractor=CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        ),
        add_watermarker=False,
        dtype=torch.float32,
        low_cpu_mem_usage=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_images_without_a_reference_are_equal(mini, diffusers_pipe):
    expected = diffusers_pipe("a rocket", generator=seeded_generator(7), **STEPS).images
    assert torch.allclose(mini("a rocket", seed=7, **STEPS).images, expected, atol=1e-4 * expected.abs().max())


def test_images_with_a_reference_are_equal(mini, diffusers_pipe, reference):
    diffusers_pipe.load_ip_adapter(
        str(MINI_FOLDER),
        subfolder="",
        weight_name="ip-adapter_mini.safetensors",
        image_encoder_folder=None,
        low_cpu_mem_usage=False,
    )
    diffusers_pipe.set_ip_adapter_scale(1.0)
    try:
        expected = diffusers_pipe(
            "a rocket", ip_adapter_image=reference, generator=seeded_generator(7), **STEPS
        ).images
    finally:
        diffusers_pipe.unload_ip_adapter()
    actual = mini("a rocket", style=reference, blocks="all", seed=7, **STEPS).images
    plain = mini("a rocket", seed=7, **STEPS).images
    assert torch.allclose(actual, expected, atol=1e-4 * expected.abs().max())
    assert not torch.allclose(plain, expected, atol=1e-2 * expected.abs().max())
