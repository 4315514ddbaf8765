"""Stage `judge`: tell thing, layout and look from pixels, also where a picture went through the autoencoder."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from instantstyle.metrics.judge import FACTS, Judge
from instantstyle.world import MINI_SCOPE, sample_scenes
from training.mini.clip import jitter
from training.mini.frozen import Latents
from training.mini.settings import PICTURE
from training.mini.stage import Stage

THROUGH = 4  # one picture in so many goes through the autoencoder, as all that is judged did


class JudgeStage(Stage):
    name = "judge"

    def __init__(self, folder: Path):
        self.module = Judge()
        self.latents = Latents(folder)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        scenes = sample_scenes(batch, generator, MINI_SCOPE)
        pictures = scenes.pictures(PICTURE, generator)
        some = batch // THROUGH
        pictures = torch.cat([self.latents.decode(self.latents.encode(pictures[:some])), pictures[some:]])
        seen = self.module(jitter(pictures, generator))
        look = scenes.look
        facts = dict(
            thing=scenes.thing, layout=scenes.layout.kind, ground=look.ground, fill=look.fill, outline=look.outline
        )
        wrong = sum(F.cross_entropy(seen.facts[name], facts[name]) for name in FACTS)
        palette = F.mse_loss(seen.palette, look.palette)
        right = {name: (seen[name] == facts[name]).float().mean() for name in FACTS}
        return wrong + 20 * palette, dict(palette=palette.detach(), **right)
