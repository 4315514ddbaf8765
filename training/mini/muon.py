"""Muon: the optimiser of the UNet's matrices and convolutions.

The momentum of each weight is replaced by the nearest orthogonal matrix, so that all its directions are learned at one
speed (K. Jordan et al. 2024, kellerjordan.github.io/posts/muon). Scaled as in "Muon is Scalable for LLM Training"
(arXiv 2502.16982, equation 4), an update is as large as AdamW's and takes AdamW's learning rates.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton–Schulz iteration; they bring singular values into about 0.7..1.2 within five iterations."""
ITERATIONS = 5
ADAMW_SCALE = 0.2  # root mean square of AdamW's updates, relative to the learning rate


class Muon(torch.optim.Optimizer):
    """Muon for weights of two and more dimensions; a weight of a convolution is a matrix of its output channels.

    Args:
        weights: Weights to train.
        lr: Learning rate.
        weight_decay: Decay of the weights, relative to the learning rate.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(weights, dict(lr=lr, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update the weights that have a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape[weight.shape].append(weight)
            for weights in by_shape.values():
                self._update(weights, group["lr"], group["weight_decay"])

    def _update(self, weights: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        gradients: list[Tensor] = [weight.grad for weight in weights if weight.grad is not None]
        means = [self.state[weight].setdefault("momentum", torch.zeros_like(weight)) for weight in weights]
        torch._foreach_lerp_(means, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, means, MOMENTUM)
        directions = orthogonalise(torch.stack([step.flatten(1) for step in ahead]))
        scale = ADAMW_SCALE * max(directions.shape[1:]) ** 0.5
        tensors: list[Tensor] = [*weights]
        torch._foreach_mul_(tensors, 1 - lr * weight_decay)
        steps = [step.view_as(weight) for step, weight in zip(directions, weights, strict=True)]
        torch._foreach_add_(tensors, steps, alpha=-lr * scale)


def orthogonalise(matrices: Float[Tensor, "matrix row column"]) -> Float[Tensor, "matrix row column"]:
    """Return the nearest matrices with singular values of about one, by a Newton–Schulz iteration in bfloat16."""
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = (wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide is matrices else x.mT).to(matrices)
