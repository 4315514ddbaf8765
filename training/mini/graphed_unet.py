"""The UNet as training calls it: on a GPU recorded as a CUDA graph and replayed.

A step of so small a network is thousands of kernels, and launching them takes longer than running them.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

from training.mini.nested_unet import LatentBatch, SizeConditioning, Timesteps
from training.mini.precision import autocast_if_faster


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
    """Calls a network; the first call with gradients on a GPU records a graph for batches of its size.

    Args:
        network: A module whose inputs are positional tensors, such as `TensorUNet`.
    """

    def __init__(self, network: nn.Module) -> None:
        self.plain = network
        self.graphed: Callable[..., Any] | None = None

    def __call__(self, *inputs: Tensor) -> Any:
        """Call the network with inputs of its `forward`."""
        if not (inputs[0].is_cuda and torch.is_grad_enabled()):
            return self.plain(*inputs)
        if self.graphed is None:
            sample = tuple(part.clone() for part in inputs)
            self.graphed = cast(
                Callable[..., Any],
                torch.cuda.make_graphed_callables(self.plain, sample, allow_unused_input=True),
            )
        return self.graphed(*inputs)
