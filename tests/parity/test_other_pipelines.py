"""Latents equal those of diffusers in every kind of pipeline that `InstantStyle` supports."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    T2IAdapter,
    UNet2DConditionModel,
)
from PIL import Image
from torch.testing import assert_close

from instantstyle import InstantStyle
from instantstyle.core.adapter_layers import cross_attention_layers

from ..conftest import CROSS_DIM, base_projection, layer_weights, make_pipe, text_config
from .diffusers_path import SCALES, load_adapter, seeded_generators

pytestmark = pytest.mark.slow

Setup = tuple[Any, dict[str, Any]]
"""A pipeline and the further arguments of its call."""

PHOTO = Image.effect_noise((16, 16), 90).convert("RGB")
LEFT = Image.new("L", (16, 16))
LEFT.paste(255, (0, 0, 8, 16))


def controlnet(pipe: Any) -> ControlNetModel:
    torch.manual_seed(7)
    made: Any = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(4, 8))
    # A new ControlNet adds nothing: its last convolutions are zero.
    for layer in (*made.controlnet_down_blocks, made.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return made.eval()


def t2i_adapter() -> T2IAdapter:
    torch.manual_seed(8)
    return T2IAdapter(
        in_channels=3,
        channels=[8, 16, 16, 16],
        num_res_blocks=1,
        downscale_factor=4,  # 2 of the latents, and 2 because its first features are added at half their size
        adapter_type="full_adapter_xl",
    )


def image_to_image(pipe: Any) -> Setup:
    return StableDiffusionXLImg2ImgPipeline.from_pipe(pipe), {"image": PHOTO, "strength": 0.8}


def inpainting(pipe: Any) -> Setup:
    inputs = {"image": PHOTO, "mask_image": LEFT, "strength": 0.9, "height": 16, "width": 16}
    return StableDiffusionXLInpaintPipeline.from_pipe(pipe), inputs


def one_controlnet(pipe: Any) -> Setup:
    made = StableDiffusionXLControlNetPipeline.from_pipe(pipe, controlnet=controlnet(pipe))
    return made, {"image": PHOTO, "height": 16, "width": 16}


def two_controlnets(pipe: Any) -> Setup:
    nets = [controlnet(pipe), controlnet(pipe)]
    inputs = {"image": [PHOTO, PHOTO], "controlnet_conditioning_scale": [0.7, 0.3]}
    made = StableDiffusionXLControlNetPipeline.from_pipe(pipe, controlnet=nets)
    return made, inputs | {"height": 16, "width": 16}


def controlnet_image_to_image(pipe: Any) -> Setup:
    made = StableDiffusionXLControlNetImg2ImgPipeline.from_pipe(pipe, controlnet=controlnet(pipe))
    return made, {"image": PHOTO, "control_image": PHOTO, "strength": 0.8, "height": 16, "width": 16}


def t2i_adapter_pipeline(pipe: Any) -> Setup:
    made = StableDiffusionXLAdapterPipeline.from_pipe(pipe, adapter=t2i_adapter())
    return made, {"image": PHOTO, "height": 16, "width": 16}


SETUPS = [
    image_to_image,
    inpainting,
    one_controlnet,
    two_controlnets,
    controlnet_image_to_image,
    t2i_adapter_pipeline,
]
SHORT: dict[str, Any] = {"num_inference_steps": 4, "output_type": "latent", "guidance_scale": 5.0}


@pytest.mark.parametrize("blocks", ["style", "all"])
@pytest.mark.parametrize("setup", SETUPS)
def test_latents_equal_diffusers(tokenizer_folder, styled, state, image_encoder, reference, setup, blocks):
    pipe, inputs = setup(make_pipe(tokenizer_folder))
    pipe.set_progress_bar_config(disable=True)
    theirs = load_adapter(pipe, state, image_encoder, SCALES[blocks])(
        "a", ip_adapter_image=reference, generator=seeded_generators(3), **inputs, **SHORT
    ).images
    pipe, inputs = setup(styled.pipe)
    pipe.set_progress_bar_config(disable=True)
    styled = styled.with_pipeline(pipe)
    ours = styled("a", style=reference, blocks=blocks, seed=3, **inputs, **SHORT).images
    plain = styled("a", seed=3, **inputs, **SHORT).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, plain, rtol=1e-2)


def make_sd15(folder: Path) -> StableDiffusionPipeline:
    """Make a pipeline of Stable Diffusion 1.5's topology: attention at three levels, one text encoder."""
    pipe = make_pipe(folder)
    torch.manual_seed(9)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16, 16, 16),
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        attention_head_dim=2,
        cross_attention_dim=CROSS_DIM,
        norm_num_groups=4,
    )
    torch.manual_seed(10)
    text_encoder = type(pipe.text_encoder)(text_config(hidden_size=CROSS_DIM))
    scheduler: Any = DDIMScheduler(steps_offset=1, clip_sample=False)
    missing: Any = None
    made = StableDiffusionPipeline(
        vae=pipe.vae,
        text_encoder=text_encoder.eval(),
        tokenizer=pipe.tokenizer,
        unet=unet.eval(),
        scheduler=scheduler,
        safety_checker=missing,
        feature_extractor=missing,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


SD15_SCALES: dict[str, Any] = {"all": 1.0, "style": {"up": {"block_1": [1.0, 1.0, 1.0]}}}


def sd15_text_to_image(pipe: Any) -> Setup:
    return pipe, {"height": 16, "width": 16}


def sd15_image_to_image(pipe: Any) -> Setup:
    return StableDiffusionImg2ImgPipeline.from_pipe(pipe), {"image": PHOTO, "strength": 0.8}


def sd15_inpainting(pipe: Any) -> Setup:
    inputs = {"image": PHOTO, "mask_image": LEFT, "strength": 0.9, "height": 16, "width": 16}
    return StableDiffusionInpaintPipeline.from_pipe(pipe), inputs


def sd15_controlnet(pipe: Any) -> Setup:
    made = StableDiffusionControlNetPipeline.from_pipe(pipe, controlnet=controlnet(pipe))
    return made, {"image": PHOTO, "height": 16, "width": 16}


@pytest.mark.parametrize("blocks", SD15_SCALES)
@pytest.mark.parametrize("setup", [sd15_text_to_image, sd15_image_to_image, sd15_inpainting, sd15_controlnet])
def test_latents_of_stable_diffusion_1_5_equal_diffusers(tokenizer_folder, image_encoder, reference, setup, blocks):
    pipe = make_sd15(tokenizer_folder)
    state = {"image_proj": base_projection(), "ip_adapter": layer_weights(cross_attention_layers(pipe.unet))}
    other_pipe, inputs = setup(pipe)
    other_pipe.set_progress_bar_config(disable=True)
    styled = InstantStyle(other_pipe, adapter=state, image_encoder=image_encoder)
    ours = styled("a", style=reference, blocks=blocks, seed=3, **inputs, **SHORT).images
    other_pipe, inputs = setup(make_sd15(tokenizer_folder))
    other_pipe.set_progress_bar_config(disable=True)
    theirs = load_adapter(other_pipe, state, image_encoder, SD15_SCALES[blocks])(
        "a", ip_adapter_image=reference, generator=seeded_generators(3), **inputs, **SHORT
    ).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
