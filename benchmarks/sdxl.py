"""SDXL's true shape with random weights: the network, an adapter's file and what a guided step is given.

Nothing is downloaded, and a seed makes the same numbers again on the same kind of device.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Generator, Tensor

from instantstyle import Style
from instantstyle.loaders.ip_adapter_checkpoint import layer_names
from instantstyle.unet.blocks import Layer

SDXL_UNET = {
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
"""huggingface.co/stabilityai/stable-diffusion-xl-base-1.0, unet/config.json; all else as diffusers has it."""

TINY_UNET = {
    **SDXL_UNET,
    "block_out_channels": (20, 40, 80),
    "cross_attention_dim": 128,
    "norm_num_groups": 4,
    "addition_time_embed_dim": 16,
    "projection_class_embeddings_input_dim": 176,
}
"""The same blocks and layers, each width a sixteenth; 32 groups would not part these widths evenly."""

ADAPTER = "ip-adapter_sdxl.safetensors"
"""Of h94/IP-Adapter, sdxl_models: its tensors' names, shapes and dtype are the ones written here."""

TOKENS = 4
"""Of that adapter: proj.weight has 4 × 2048 rows."""

WORDS = 77
"""A prompt's tokens in CLIP."""

TIMESTEP = 501
"""In the middle of the 1000 that SDXL was trained with."""


def fill(name: str, tensor: Tensor, generator: Generator) -> Tensor:
    """Numbers under which a signal keeps its size through a hundred layers: 1 / √inputs; norms start at 1."""
    if "norm" in name and name.endswith("weight"):
        return tensor.fill_(1)
    spread = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.02
    return tensor.normal_(0, spread, generator=generator)


def sketched(config: Mapping[str, Any]) -> Any:
    """The network without weights: names and shapes."""
    with torch.device("meta"):
        return UNet2DConditionModel(**config).eval().requires_grad_(False)


@torch.no_grad()
def filled(unet: Any, device: torch.device, dtype: torch.dtype, seed: int) -> Any:
    """The sketched network with weights, each number written once."""
    unet.to(dtype).to_empty(device=device)
    generator = Generator(device).manual_seed(seed)
    for name, parameter in unet.named_parameters():
        fill(name, parameter, generator)
    return unet


def embedding_dim(unet: Any) -> int:
    """Of words and of pictures alike, as CLIP bigG has them: the network adds it to six embedded numbers."""
    return unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim


def write_adapter(path: Path, layers: Sequence[Layer], embedding_dim: int, seed: int) -> None:
    """A base adapter for these layers, in the standard names and in half precision."""
    cross_dim = layers[0].cross_dim
    shapes: dict[str, tuple[int, ...]] = {
        "image_proj.proj.weight": (TOKENS * cross_dim, embedding_dim),
        "image_proj.proj.bias": (TOKENS * cross_dim,),
        "image_proj.norm.weight": (cross_dim,),
        "image_proj.norm.bias": (cross_dim,),
    }
    for layer in layers:
        shapes |= dict.fromkeys(layer_names(layer.number), (layer.width, cross_dim))
    generator = Generator().manual_seed(seed)
    empty = {name: torch.empty(shape, dtype=torch.float16) for name, shape in shapes.items()}
    save_file({name: fill(name, tensor, generator) for name, tensor in empty.items()}, path)


def inputs_of(unet: Any, side: int, seed: int) -> dict[str, Any]:
    """What a pipeline hands to the network at a guided step; every arm gets the same.

    `image_embeds` are read by diffusers' path alone: zeros in the unconditional half, as its pipelines do it.
    """
    generator = Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(unet.device, unet.dtype)

    width, size = embedding_dim(unet), 8 * side
    embeds = drawn(1, 1, width)
    return {
        "sample": drawn(1, 4, side, side).repeat(2, 1, 1, 1),
        "timestep": torch.tensor(TIMESTEP, device=unet.device),
        "encoder_hidden_states": drawn(2, WORDS, unet.config.cross_attention_dim),
        "added_cond_kwargs": {
            "text_embeds": drawn(2, width),
            "time_ids": torch.tensor([[size, size, 0, 0, size, size]] * 2).to(unet.device, unet.dtype),
            "image_embeds": [torch.cat([torch.zeros_like(embeds), embeds])],
        },
    }


def style_in(inputs: Mapping[str, Any]) -> Style:
    """The inputs' image embedding as if it had been seen in a reference."""
    unconditional, embeds = inputs["added_cond_kwargs"]["image_embeds"][0].cpu()
    return Style(embeds, unconditional[0])
