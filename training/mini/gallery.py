"""Scenes drawn once and used several times: rendering and encoding cost as much as half a training step."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from instantstyle.world import Scenes, Scope, sample_scenes
from training.mini.precision import quick
from training.mini.settings import PICTURE
from training.mini.vae import Pictures

BATCHES, USES = 192, 8  # batches on the walls, and how often each picture is used, on average
PIECE = 64  # pictures encoded at once

View = Callable[[Pictures], Tensor]


class Gallery:
    """Training scenes and what the frozen networks make of their pictures, hung anew when used enough."""

    def __init__(self, scope: Scope, views: Sequence[View], side: int = PICTURE) -> None:
        self.scope, self.views, self.side, self.left = scope, views, side, 0

    def pick(self, count: int, generator: Generator) -> tuple[Scenes, list[Tensor]]:
        """`count` scenes by lot, and each view of them."""
        if self.left <= 0:
            self._hang(count * BATCHES, generator)
        self.left -= count
        rows = torch.randint(len(self.scenes), (count,), generator=generator)
        return self.scenes[rows], [view[rows] for view in self.seen]

    def _hang(self, count: int, generator: Generator) -> None:
        self.scenes, self.left = sample_scenes(count, generator, self.scope), count * USES
        pieces = [self.scenes[start : start + PIECE] for start in range(0, count, PIECE)]
        pictures = [piece.pictures(self.side, generator) for piece in pieces]
        with quick():
            self.seen = [torch.cat([view(part).float() for part in pictures]) for view in self.views]
