"""diffusers' own IP-Adapter path, which this package is compared with."""

from copy import deepcopy
from typing import Any

import torch
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

SCALES: dict[str, Any] = {
    "all": 1.0,
    "style": {"up": {"block_0": [0.0, 1.0, 0.0]}},
    "style+layout": {"down": {"block_2": [0.0, 1.0]}, "up": {"block_0": [0.0, 1.0, 0.0]}},
}
"""By value of `blocks`: the argument of diffusers' `set_ip_adapter_scale` for SDXL."""


def load_adapter(
    pipe: Any,
    state: dict[str, dict[str, torch.Tensor]] | list[dict[str, dict[str, torch.Tensor]]],
    image_encoder: CLIPVisionModelWithProjection,
    scale: Any,
) -> Any:
    """Load one adapter or several into the pipeline with diffusers' own loader; returns the pipeline."""
    size: Any = image_encoder.config.image_size
    pipe.register_modules(
        # A copy, because moving the pipeline to another dtype would move the encoder that all tests share.
        image_encoder=deepcopy(image_encoder),
        feature_extractor=CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}
        ),
    )
    places = None if isinstance(state, dict) else [None] * len(state)
    pipe.load_ip_adapter(state, subfolder=places, weight_name=places, low_cpu_mem_usage=False)
    pipe.set_ip_adapter_scale(scale)
    return pipe


def seeded_generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]
