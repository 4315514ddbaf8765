"""Scenes are drawn, encoded and described once and used often: that costs as much as half a training step."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from instantstyle.synthetic import Scenes, Scope, sample_scenes
from training.mini.precision import quick
from training.mini.settings import PICTURE
from training.mini.vae import Pictures

BATCHES, USES = 192, 8  # batches on the walls, and how often each picture is used, on average
PIECE = {"cpu": 64, "cuda": 512}  # pictures drawn and encoded at once

View = Callable[[Pictures], Tensor]
Tell = Callable[[Scenes, Generator], Sequence[Tensor]]


def nothing(scenes: Scenes, generator: Generator) -> Sequence[Tensor]:
    return ()


class Gallery:
    """Training scenes, what frozen networks make of their pictures and of what is told of them.

    Hung anew when used enough.
    """

    def __init__(
        self, scope: Scope, views: Sequence[View], tell: Tell = nothing, side: int = PICTURE
    ) -> None:
        self.scope, self.views, self.tell, self.side, self.left = scope, views, tell, side, 0

    def pick(self, count: int, generator: Generator) -> tuple[Scenes, list[Tensor]]:
        """`count` scenes by lot, each view of them and all that is told of them."""
        if self.left <= 0:
            self._hang(count * BATCHES, generator)
        self.left -= count
        rows = torch.randint(len(self.scenes), (count,), generator=generator)
        return self.scenes[rows], [known[rows] for known in self.known]

    def _hang(self, count: int, generator: Generator) -> None:
        self.scenes, self.left = sample_scenes(count, generator, self.scope), count * USES
        piece = PIECE[torch.get_default_device().type]
        with quick():
            pieces = [
                self._known(self.scenes[start : start + piece], generator) for start in range(0, count, piece)
            ]
        self.known = [torch.cat(parts) for parts in zip(*pieces, strict=True)]

    def _known(self, scenes: Scenes, generator: Generator) -> list[Tensor]:
        pictures = scenes.pictures(self.side, generator)
        seen = [view(pictures) for view in self.views]
        return [part.float() for part in (*seen, *self.tell(scenes, generator))]
