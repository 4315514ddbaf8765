"""Our latents against diffusers' own, in every kind of pipeline that an `InstantStyle` can be around."""

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
from instantstyle.core.ip_adapter import cross_attention_layers

from ..conftest import CROSS_DIM, base_projection, layer_weights, make_pipe, text_config
from .theirs import SCALES, adapted, generators

PHOTO = Image.effect_noise((16, 16), 90).convert("RGB")
LEFT = Image.new("L", (16, 16))
LEFT.paste(255, (0, 0, 8, 16))


def controlnet(pipe) -> ControlNetModel:
    torch.manual_seed(7)
    made = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(4, 8))
    # As made it adds nothing: its last convolutions are zero.
    for layer in (*made.controlnet_down_blocks, made.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return made.eval()


def t2i_adapter() -> T2IAdapter:
    torch.manual_seed(8)
    return T2IAdapter(
        in_channels=3,
        channels=[8, 16, 16, 16],
        num_res_blocks=1,
        downscale_factor=4,  # the latents' 2, and the half-size at which its first features are added
        adapter_type="full_adapter_xl",
    )


def image_to_image(pipe):
    return StableDiffusionXLImg2ImgPipeline.from_pipe(pipe), {"image": PHOTO, "strength": 0.8}


def inpainting(pipe):
    begun = {"image": PHOTO, "mask_image": LEFT, "strength": 0.9, "height": 16, "width": 16}
    return StableDiffusionXLInpaintPipeline.from_pipe(pipe), begun


def one_controlnet(pipe):
    made = StableDiffusionXLControlNetPipeline.from_pipe(pipe, controlnet=controlnet(pipe))
    return made, {"image": PHOTO, "height": 16, "width": 16}


def two_controlnets(pipe):
    nets = [controlnet(pipe), controlnet(pipe)]
    told = {"image": [PHOTO, PHOTO], "controlnet_conditioning_scale": [0.7, 0.3]}
    made = StableDiffusionXLControlNetPipeline.from_pipe(pipe, controlnet=nets)
    return made, told | {"height": 16, "width": 16}


def controlnet_on_a_picture(pipe):
    made = StableDiffusionXLControlNetImg2ImgPipeline.from_pipe(pipe, controlnet=controlnet(pipe))
    return made, {"image": PHOTO, "control_image": PHOTO, "strength": 0.8, "height": 16, "width": 16}


def structure_adapter(pipe):
    made = StableDiffusionXLAdapterPipeline.from_pipe(pipe, adapter=t2i_adapter())
    return made, {"image": PHOTO, "height": 16, "width": 16}


WAYS = [
    image_to_image,
    inpainting,
    one_controlnet,
    two_controlnets,
    controlnet_on_a_picture,
    structure_adapter,
]
SHORT = {"num_inference_steps": 4, "output_type": "latent", "guidance_scale": 5.0}


@pytest.mark.parametrize("blocks", ["style", "all"])
@pytest.mark.parametrize("way", WAYS)
def test_latents_equal_diffusers(tokenizer_folder, styled, state, image_encoder, reference, way, blocks):
    pipe, told = way(make_pipe(tokenizer_folder))
    pipe.set_progress_bar_config(disable=True)
    theirs = adapted(pipe, state, image_encoder, SCALES[blocks])(
        "a", ip_adapter_image=reference, generator=generators(3), **told, **SHORT
    ).images
    pipe, told = way(styled.pipe)
    pipe.set_progress_bar_config(disable=True)
    other = styled.with_pipeline(pipe)
    ours = other("a", style=reference, blocks=blocks, seed=3, **told, **SHORT).images
    plain = other("a", seed=3, **told, **SHORT).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, plain, rtol=1e-2)


def make_sd15(folder) -> StableDiffusionPipeline:
    """Stable Diffusion 1.5's topology: attention at three levels, one text tower, no added conditions."""
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
    tower = type(pipe.text_encoder)(text_config(hidden_size=CROSS_DIM))
    made = StableDiffusionPipeline(
        vae=pipe.vae,
        text_encoder=tower.eval(),
        tokenizer=pipe.tokenizer,
        unet=unet.eval(),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


SD15_SCALES = {"all": 1.0, "style": {"up": {"block_1": [1.0, 1.0, 1.0]}}}


def sd15_words(pipe):
    return pipe, {"height": 16, "width": 16}


def sd15_image_to_image(pipe):
    return StableDiffusionImg2ImgPipeline.from_pipe(pipe), {"image": PHOTO, "strength": 0.8}


def sd15_inpainting(pipe):
    begun = {"image": PHOTO, "mask_image": LEFT, "strength": 0.9, "height": 16, "width": 16}
    return StableDiffusionInpaintPipeline.from_pipe(pipe), begun


def sd15_controlnet(pipe):
    made = StableDiffusionControlNetPipeline.from_pipe(pipe, controlnet=controlnet(pipe))
    return made, {"image": PHOTO, "height": 16, "width": 16}


@pytest.mark.parametrize("blocks", SD15_SCALES)
@pytest.mark.parametrize("way", [sd15_words, sd15_image_to_image, sd15_inpainting, sd15_controlnet])
def test_latents_of_stable_diffusion_1_5_equal_diffusers(
    tokenizer_folder, image_encoder, reference, way, blocks
):
    pipe = make_sd15(tokenizer_folder)
    state = {"image_proj": base_projection(), "ip_adapter": layer_weights(cross_attention_layers(pipe.unet))}
    guest, told = way(pipe)
    guest.set_progress_bar_config(disable=True)
    styled = InstantStyle(guest, adapter=state, image_encoder=image_encoder)
    ours = styled("a", style=reference, blocks=blocks, seed=3, **told, **SHORT).images
    guest, told = way(make_sd15(tokenizer_folder))
    guest.set_progress_bar_config(disable=True)
    theirs = adapted(guest, state, image_encoder, SD15_SCALES[blocks])(
        "a", ip_adapter_image=reference, generator=generators(3), **told, **SHORT
    ).images
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
