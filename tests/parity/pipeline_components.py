"""Components of tiny pipelines, made once for each family, and what some classes have beside them."""

import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetUnionModel,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LCMScheduler,
    MotionAdapter,
    SparseControlNetModel,
    T2IAdapter,
    UNet2DConditionModel,
)

from ..conftest import make_pipe
from .kolors import make_kolors
from .test_other_pipelines import PHOTO, controlnet, make_sd15

Parts = dict[str, Any]
"""Components of a pipeline by name."""

Family = Callable[[Path], Parts]
"""Makes the components of a family, from a folder with a tokenizer."""


@cache
def sdxl(folder: Path) -> Parts:
    return dict(make_pipe(folder).components)


@cache
def sd15(folder: Path) -> Parts:
    return dict(make_sd15(folder).components)


@cache
def kolors(folder: Path) -> Parts:
    return dict(make_kolors(folder).components)


@cache
def consistency(folder: Path) -> Parts:
    """Latent consistency models read the guidance scale as a part of the timestep."""
    return {**_change_unet(sd15(folder), time_cond_proj_dim=8), "scheduler": LCMScheduler()}


@cache
def instructed(folder: Path) -> Parts:
    return _change_unet(sd15(folder), in_channels=8)


@cache
def depth(folder: Path) -> Parts:
    """The depth map is a fifth channel; a caller may pass it, so that no depth estimator is needed."""
    return _change_unet(sd15(folder), in_channels=5)


@cache
def deep(folder: Path) -> Parts:
    """The depth of each pixel is in the last three of six channels of the image."""
    vae = sd15(folder)["vae"]
    torch.manual_seed(15)
    return {**sd15(folder), "vae": AutoencoderKL(**{**vae.config, "out_channels": 6}).eval()}


@cache
def animated(folder: Path) -> Parts:
    return {**sd15(folder), "motion_adapter": _motion_adapter(4), "scheduler": DDIMScheduler(clip_sample=False)}


@cache
def animated_sdxl(folder: Path) -> Parts:
    scheduler: Any = DDIMScheduler(clip_sample=False)
    return {**sdxl(folder), "motion_adapter": _motion_adapter(3), "scheduler": scheduler}


@cache
def personal(folder: Path) -> Parts:
    """PIA reads a mask and the latents of its image beside those of the video."""
    return {**animated(folder), "motion_adapter": _motion_adapter(4, conv_in_channels=9)}


@cache
def edited(folder: Path) -> Parts:
    return {**sd15(folder), "scheduler": _edit_scheduler()}


@cache
def edited_sdxl(folder: Path) -> Parts:
    return {**sdxl(folder), "scheduler": _edit_scheduler()}


def _edit_scheduler() -> Any:
    return DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", solver_order=2)


def _change_unet(parts: Parts, **changes: Any) -> Parts:
    torch.manual_seed(9)
    return {**parts, "unet": UNet2DConditionModel(**{**parts["unet"].config, **changes}).eval()}


def _motion_adapter(levels: int, **changes: Any) -> MotionAdapter:
    torch.manual_seed(11)
    sizes: dict[str, Any] = {"motion_norm_num_groups": 4, "motion_num_attention_heads": 2, **changes}
    motion = MotionAdapter(block_out_channels=(8, 16, 16, 16)[:levels], use_motion_mid_block=levels == 4, **sizes)
    for name, weight in motion.named_parameters():
        # A new motion module adds nothing: its last projection is zero.
        if "proj_out" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return motion.eval()


class _Holder:
    """Parts as attributes, which `controlnet` reads."""

    def __init__(self, parts: Parts) -> None:
        self.unet = parts["unet"]


def make_controlnet(parts: Parts) -> Any:
    return controlnet(_Holder(parts))


def make_union(parts: Parts) -> Any:
    torch.manual_seed(7)
    unet = parts["unet"].config
    shared = {name: unet[name] for name in inspect.signature(ControlNetUnionModel).parameters if name in unet}
    sizes = {"num_trans_channel": 8, "num_proj_channel": 8, "num_trans_head": 2, "num_control_type": 1}
    made: Any = ControlNetUnionModel(**{**shared, **sizes, "conditioning_embedding_out_channels": (4, 8)})
    for layer in (*made.controlnet_down_blocks, made.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return made.eval()


def make_t2i_adapter(parts: Parts) -> T2IAdapter:
    torch.manual_seed(8)
    return T2IAdapter(in_channels=3, channels=[8, 16, 16, 16], num_res_blocks=1, downscale_factor=2)


def make_sparse_controlnet(parts: Parts) -> Any:
    torch.manual_seed(7)
    unet = parts["unet"].config
    made: Any = SparseControlNetModel(
        block_out_channels=unet.block_out_channels,
        down_block_types=("CrossAttnDownBlockMotion",) * 3 + ("DownBlockMotion",),
        layers_per_block=unet.layers_per_block,
        cross_attention_dim=unet.cross_attention_dim,
        attention_head_dim=2,
        norm_num_groups=4,
        conditioning_embedding_out_channels=(4, 8),
        motion_num_attention_heads=2,
        conditioning_channels=3,
        concat_conditioning_mask=False,
        use_simplified_condition_embedding=False,
    )
    for layer in (*made.controlnet_down_blocks, made.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return made.eval()


def invert_photo(pipe: Any) -> None:
    pipe.scheduler.set_timesteps(2)
    torch.manual_seed(14)
    pipe.invert(PHOTO.resize((32, 32)), num_inversion_steps=2, skip=0.0, height=32, width=32, source_prompt="a")
