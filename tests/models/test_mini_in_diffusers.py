"""The bundled model's files are ordinary ones: diffusers alone loads them, and draws the same pictures."""

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

import instantstyle
from instantstyle.models.registry import MINI_FOLDER
from instantstyle.synthetic import MINI_SCOPE, to_pil_image, sample_scenes

from ..helpers import dice

STEPS = {"num_inference_steps": 4, "guidance_scale": 3.0, "output_type": "latent"}


@pytest.fixture(scope="module")
def picture():
    return to_pil_image(sample_scenes(1, dice(5), MINI_SCOPE, held_out=True).render(64)[0])


@pytest.fixture(scope="module")
def mini():
    styled = instantstyle.load("mini", device="cpu")
    styled.pipe.to(torch.float32).set_progress_bar_config(disable=True)
    return styled


@pytest.fixture(scope="module")
def guest():
    """As anybody would load an SDXL and its IP-Adapter."""
    encoder = CLIPVisionModelWithProjection.from_pretrained(
        MINI_FOLDER / "image_encoder", dtype=torch.float32
    )
    side = encoder.config.image_size
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


def test_it_draws_the_same_without_a_reference(mini, guest):
    theirs = guest("a rocket", generator=dice(7), **STEPS).images
    assert torch.allclose(mini("a rocket", seed=7, **STEPS).images, theirs, atol=1e-4 * theirs.abs().max())


def test_it_draws_the_same_with_one(mini, guest, picture):
    guest.load_ip_adapter(
        str(MINI_FOLDER),
        subfolder="",
        weight_name="ip-adapter_mini.safetensors",
        image_encoder_folder=None,
        low_cpu_mem_usage=False,
    )
    guest.set_ip_adapter_scale(1.0)
    try:
        theirs = guest("a rocket", ip_adapter_image=picture, generator=dice(7), **STEPS).images
    finally:
        guest.unload_ip_adapter()
    ours = mini("a rocket", style=picture, blocks="all", seed=7, **STEPS).images
    plain = mini("a rocket", seed=7, **STEPS).images
    assert torch.allclose(ours, theirs, atol=1e-4 * theirs.abs().max())
    assert not torch.allclose(plain, theirs, atol=1e-2 * theirs.abs().max())
