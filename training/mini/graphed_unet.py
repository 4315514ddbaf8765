"""The drawing network as training calls it: on a GPU recorded once and replayed.

A step of so small a network is thousands of kernels, and to launch them takes longer than to run them.
"""

from collections.abc import Callable

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.mini.precision import quick

LatentBatch = Float[Tensor, "picture channel y x"]
Times = Int[Tensor, " picture"]
Placements = Float[Tensor, "picture 6"]


class Told(nn.Module):
    """The UNet with a tensor for each thing that it is told."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self,
        noisy: LatentBatch,
        times: Times,
        states: Float[Tensor, "picture word cross"],
        pooled: Float[Tensor, "picture shared"],
        where: Placements,
        *images: Float[Tensor, "picture 1 shared"],
    ) -> LatentBatch:
        """The velocity; `images` are the embeddings of references, where there is an adapter."""
        added = dict(text_embeds=pooled, time_ids=where) | ({"image_embeds": [*images]} if images else {})
        with quick():
            return self.unet(noisy, times, states, added_cond_kwargs=added).sample.float()


class Drawing:
    """Calls the network; what is to be learnt from is recorded at the first call, for batches of its size."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.told = Told(unet)
        self.recorded: Callable[..., LatentBatch] | None = None

    def __call__(self, *told: Tensor) -> LatentBatch:
        if not (told[0].is_cuda and torch.is_grad_enabled()):
            return self.told(*told)
        if self.recorded is None:
            sample = tuple(part.clone() for part in told)
            self.recorded = torch.cuda.make_graphed_callables(
                Told(self.told.unet), sample, allow_unused_input=True
            )
        return self.recorded(*told)
