"""A convolutional pyramid: features of an image at several sizes, and their pooling into one vector.

The discriminator of stage `adversarial` and the classifier of stage `guide` are built of it.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

NORM_GROUPS = 8
POOLING_MAPS = 4
"""Attention maps by which the features of a level are averaged, beside their plain mean."""

Features = list[Float[Tensor, "image channel y x"]]
"""Features by level, the largest first."""


class ResidualBlock(nn.Module):
    """Two normalised convolutions whose result is added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_1, self.conv_1 = nn.GroupNorm(NORM_GROUPS, width), nn.Conv2d(width, width, 3, padding=1)
        self.norm_2, self.conv_2 = nn.GroupNorm(NORM_GROUPS, width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "image width y x"]) -> Float[Tensor, "image width y x"]:
        """Add the branch to the input."""
        return x + self.conv_2(F.silu(self.norm_2(self.conv_1(F.silu(self.norm_1(x))))))


class Pyramid(nn.Module):
    """Residual blocks at several sizes, each half as large as the one before.

    Args:
        first: Convolution of the input into the first level.
        widths: Channels of each level.
        blocks: Residual blocks of each level.
    """

    def __init__(self, first: nn.Module, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        halve = [nn.Conv2d(before, after, 3, 2, 1) for before, after in pairwise(widths)]
        self.entrances = nn.ModuleList([first, *halve])
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
            for width, count in zip(widths, blocks, strict=True)
        )
        self.maps = nn.ModuleList(nn.Conv2d(width, POOLING_MAPS, 1) for width in widths)
        self.pooled_width = (POOLING_MAPS + 1) * sum(widths)

    def forward(self, x: Float[Tensor, "image channel y x"]) -> Features:
        """Compute the features of all levels."""
        features = []
        for enter, level in zip(self.entrances, self.levels, strict=True):
            x = level(enter(x))
            features.append(x)
        return features

    def pool(self, features: Features) -> Float[Tensor, "image pooled_width"]:
        """Average the features of each level, over its whole plane and by its attention maps."""
        parts = []
        for level, maps in zip(features, self.maps, strict=True):
            weights = maps(level).flatten(2).float().softmax(-1).to(level.dtype)
            cells = F.silu(level).flatten(2)
            parts += [torch.einsum("bmc,bwc->bmw", weights, cells).flatten(1), cells.mean(-1)]
        return torch.cat(parts, 1)
