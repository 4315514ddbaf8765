"""SDXL's architecture with random weights: the UNet, an adapter file and the inputs of a guided step.

Nothing is downloaded, and a seed gives the same numbers again on the same kind of device.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Generator, Tensor

from instantstyle import Style
from instantstyle.loaders.ip_adapter_checkpoint import layer_tensor_names
from instantstyle.unet.blocks import Layer

SDXL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "norm_num_groups": 32,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
"""huggingface.co/stabilityai/stable-diffusion-xl-base-1.0, unet/config.json."""

TINY_UNET: dict[str, Any] = {
    **SDXL_UNET,
    "block_out_channels": (20, 40, 80),
    "cross_attention_dim": 128,
    "norm_num_groups": 4,
    "addition_time_embed_dim": 16,
    "projection_class_embeddings_input_dim": 176,
}
"""The same blocks and layers, each width divided by 16; these widths are not divisible into 32 groups."""

ADAPTER = "ip-adapter_sdxl.safetensors"
"""Of h94/IP-Adapter, sdxl_models: names, shapes and dtype of its tensors are those that are written here."""

IMAGE_TOKENS = 4
"""Tokens of that adapter: proj.weight has 4 × 2048 rows."""

TEXT_TOKENS = 77
"""Tokens of a prompt in CLIP."""

TIMESTEP = 501
"""In the middle of the 1000 timesteps that SDXL was trained with."""


def fill_random(name: str, tensor: Tensor, generator: Generator) -> Tensor:
    """Fill a weight in place so that a signal keeps its size: deviation 1 / √inputs; norms are 1."""
    if "norm" in name and name.endswith("weight"):
        return tensor.fill_(1)
    deviation = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.02
    return tensor.normal_(0, deviation, generator=generator)


def create_meta_unet(config: Mapping[str, Any]) -> Any:
    """Create the UNet on the meta device: names and shapes without weights."""
    with torch.device("meta"):
        return UNet2DConditionModel(**config).eval().requires_grad_(False)


@torch.no_grad()
def fill_unet(unet: Any, device: torch.device, dtype: torch.dtype, seed: int) -> Any:
    """Give a UNet of the meta device random weights on `device`; each one is written once."""
    unet.to(dtype).to_empty(device=device)
    generator = Generator(device).manual_seed(seed)
    for name, parameter in unet.named_parameters():
        fill_random(name, parameter, generator)
    return unet


def embedding_dim(unet: Any) -> int:
    """Return the width of pooled text and image embeddings, both of CLIP bigG.

    The UNet concatenates the text's with six embedded numbers.
    """
    return unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim


def write_adapter(path: Path, layers: Sequence[Layer], embedding_dim: int, seed: int) -> None:
    """Write a base adapter with random weights in float16, under the standard names.

    Args:
        path: File to write.
        layers: Cross-attention layers of the UNet.
        embedding_dim: Width of image embeddings.
        seed: Seed of the weights.
    """
    cross_dim = layers[0].cross_dim
    shapes: dict[str, tuple[int, ...]] = {
        "image_proj.proj.weight": (IMAGE_TOKENS * cross_dim, embedding_dim),
        "image_proj.proj.bias": (IMAGE_TOKENS * cross_dim,),
        "image_proj.norm.weight": (cross_dim,),
        "image_proj.norm.bias": (cross_dim,),
    }
    for layer in layers:
        shapes |= dict.fromkeys(layer_tensor_names(layer.number), (layer.width, cross_dim))
    generator = Generator().manual_seed(seed)
    empty = {name: torch.empty(shape, dtype=torch.float16) for name, shape in shapes.items()}
    save_file({name: fill_random(name, tensor, generator) for name, tensor in empty.items()}, path)


def create_inputs(unet: Any, side: int, seed: int) -> dict[str, Any]:
    """Create what a pipeline passes to the UNet at a guided step; every arm gets the same.

    `image_embeds` are read by diffusers' path alone; they are zeros in the unconditional half, as in its
    pipelines.

    Args:
        unet: The UNet.
        side: Side of the latents.
        seed: Seed of the inputs.

    Returns:
        Keyword arguments of the UNet for one image, unconditional half first.
    """
    generator = Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(unet.device, unet.dtype)

    width, size = embedding_dim(unet), 8 * side
    embeds = random(1, 1, width)
    return {
        "sample": random(1, 4, side, side).repeat(2, 1, 1, 1),
        "timestep": torch.tensor(TIMESTEP, device=unet.device),
        "encoder_hidden_states": random(2, TEXT_TOKENS, unet.config.cross_attention_dim),
        "added_cond_kwargs": {
            "text_embeds": random(2, width),
            "time_ids": torch.tensor([[size, size, 0, 0, size, size]] * 2).to(unet.device, unet.dtype),
            "image_embeds": [torch.cat([torch.zeros_like(embeds), embeds])],
        },
    }


def create_style(inputs: Mapping[str, Any]) -> Style:
    """Create a style from the image embedding of the inputs."""
    unconditional, embeds = inputs["added_cond_kwargs"]["image_embeds"][0].cpu()
    return Style(embeds, unconditional[0])
