"""Stage `judge`: tell thing, layout and look from pixels, also of pictures that the autoencoder drew."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator

from instantstyle.metrics import Judge, facts_of
from instantstyle.world import MINI_SCOPE, sample_scenes
from training.mini.clip import jitter
from training.mini.frozen import Latents
from training.mini.settings import PICTURE
from training.mini.stage import Scalar, Stage, total

THROUGH = 8  # one picture in so many goes through the autoencoder, as all that is judged did


class JudgeStage(Stage[Judge]):
    def __init__(self, folder: Path, name: str = "judge") -> None:
        self.name, self.module = name, Judge()
        self.latents = Latents(folder)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        scenes = sample_scenes(batch, generator, MINI_SCOPE)
        pictures = scenes.pictures(PICTURE, generator)
        some = batch // THROUGH
        pictures = torch.cat([self.latents.decode(self.latents.encode(pictures[:some])), pictures[some:]])
        seen = self.module(jitter(pictures, generator))
        facts = facts_of(scenes)
        wrong = total(F.cross_entropy(seen.facts[name], shown) for name, shown in facts.items())
        palette = F.mse_loss(seen.palette, scenes.look.palette)
        right = {name: (seen[name] == shown).float().mean() for name, shown in facts.items()}
        return wrong + 20 * palette, dict(palette=palette.detach(), **right)
