"""The UNet as training calls it: on a GPU recorded as a CUDA graph and replayed.

A step of so small a network is thousands of kernels, and launching them takes longer than running them.
"""

from collections.abc import Callable
from typing import cast

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.mini.precision import autocast_if_faster

LatentBatch = Float[Tensor, "image channel y x"]
Timesteps = Int[Tensor, " image"]
SizeConditioning = Float[Tensor, "image 6"]


class TensorUNet(nn.Module):
    """The UNet with a positional tensor for each input, as CUDA graphs require."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self,
        noisy: LatentBatch,
        timesteps: Timesteps,
        states: Float[Tensor, "image token cross"],
        pooled: Float[Tensor, "image width"],
        sizes: SizeConditioning,
        *image_embeds: Float[Tensor, "image 1 width"],
    ) -> LatentBatch:
        """Predict the velocity; `image_embeds` are those of references, for a UNet with an adapter."""
        added = dict(text_embeds=pooled, time_ids=sizes)
        if image_embeds:
            added |= {"image_embeds": [*image_embeds]}
        with autocast_if_faster():
            return self.unet(noisy, timesteps, states, added_cond_kwargs=added).sample.float()


class GraphedUNet:
    """Calls the UNet; the first call with gradients on a GPU records a graph for batches of its size."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.plain = TensorUNet(unet)
        self.graphed: Callable[..., LatentBatch] | None = None

    def __call__(self, *inputs: Tensor) -> LatentBatch:
        """Predict the velocity from the inputs of `TensorUNet.forward`."""
        if not (inputs[0].is_cuda and torch.is_grad_enabled()):
            return self.plain(*inputs)
        if self.graphed is None:
            sample = tuple(part.clone() for part in inputs)
            module = TensorUNet(self.plain.unet)
            self.graphed = cast(
                Callable[..., LatentBatch],
                torch.cuda.make_graphed_callables(module, sample, allow_unused_input=True),
            )
        return self.graphed(*inputs)
