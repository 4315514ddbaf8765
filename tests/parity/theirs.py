"""diffusers' own IP-Adapter path, to compare with."""

import torch
from transformers import CLIPImageProcessorPil

SCALES = {
    "all": 1.0,
    "style": {"up": {"block_0": [0.0, 1.0, 0.0]}},
    "style+layout": {"down": {"block_2": [0.0, 1.0]}, "up": {"block_0": [0.0, 1.0, 0.0]}},
}
"""What `blocks` means, as diffusers' `set_ip_adapter_scale` says it for SDXL."""


def adapted(pipe, state, image_encoder, scale):
    """The pipeline with diffusers' adapter in it."""
    size = image_encoder.config.image_size
    pipe.register_modules(
        image_encoder=image_encoder,
        feature_extractor=CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}
        ),
    )
    pipe.load_ip_adapter(state, subfolder=None, weight_name=None, low_cpu_mem_usage=False)
    pipe.set_ip_adapter_scale(scale)
    return pipe


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]
