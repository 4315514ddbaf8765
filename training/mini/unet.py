"""Stages `unet-small` and `unet`: noise → latents, told by words; small and in few looks first, then all."""

from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Generator, Tensor

from instantstyle.synthetic import MINI_SCOPE, Scenes, Scope
from training.mini.drawing import Drawing, LatentBatch, Placements, Times
from training.mini.frozen import Clip, Latents, Words, placement, where_kept
from training.mini.gallery import Gallery
from training.mini.settings import PICTURE, SCHEDULE, SMALL_PICTURE, SMALL_SCOPE, UNET
from training.mini.stage import Scalar, Stage, mean_where, weights_of
from training.mini.words import describe

DROPPED = 0.1  # of the captions, for guidance
FAVOUR = 1.3  # high noise, a little
TOLD = 0.5  # of the placements, so that layout can still be learnt
POOLED = 0.5  # of the pooled embeddings; the rest have to be read word by word, and references with them


class Diffusion:
    """Noise, its schedule and the target, shared by all stages that draw."""

    def __init__(self) -> None:
        schedule = DDIMScheduler(**SCHEDULE).alphas_cumprod
        self.signal, self.noise = schedule.sqrt(), (1 - schedule).sqrt()

    def times(self, count: int, generator: Generator, favour: float) -> Times:
        """Time steps 0..999; `favour` > 1 bends them towards high noise, where shapes are decided."""
        lot = torch.rand(count, generator=generator)
        return (1000 * favour * lot / (1 + (favour - 1) * lot)).long().clamp(max=999)

    def noised(
        self, latents: LatentBatch, times: Times, generator: Generator
    ) -> tuple[LatentBatch, LatentBatch]:
        """Noisy latents and the velocity to predict, v = α ε − σ x (arXiv 2202.00512)."""
        noise = torch.randn(latents.shape, generator=generator)
        signal, sigma = (column[times][:, None, None, None] for column in (self.signal, self.noise))
        return signal * latents + sigma * noise, signal * noise - sigma * latents


class UnetStage(Stage[UNet2DConditionModel]):
    """`unet-small` learns things, small and in few looks; `unet` goes on from it, where there is one."""

    def __init__(self, folder: Path, name: str = "unet") -> None:
        self.name, small = name, name == "unet-small"
        self.scope: Scope = SMALL_SCOPE if small else MINI_SCOPE
        self.module = UNet2DConditionModel(**UNET)
        self.module.set_attn_processor(AttnProcessor())  # torch's fused one is slow backwards in bf16 on CPUs
        self.clip, self.diffusion = Clip(folder), Diffusion()
        self.latents = Latents(folder)
        self.side = SMALL_PICTURE if small else PICTURE
        self.drawing = Drawing(self.module)
        self.gallery = Gallery(self.scope, [self.latents.encode], self.told, self.side)
        if not small and (folder / "unet-small.pt").exists():
            self.module.load_state_dict(weights_of("unet-small", folder))

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        scenes, (latents, *words) = self.gallery.pick(batch, generator)
        lots = torch.rand(3, batch, generator=generator)
        kept, told, summed = lots[0] >= DROPPED, lots[1] < TOLD, lots[2] < POOLED
        times = self.diffusion.times(batch, generator, favour=FAVOUR)
        states, pooled = where_kept(words, kept)
        words = states, pooled * summed[:, None]
        where = placement(scenes, self.side, told)
        predicted, wanted = self.predict(latents, words, times, generator, where)
        error = (predicted - wanted).pow(2).mean((1, 2, 3))
        high, low = (mean_where(part, error.detach()) for part in (times > 600, times <= 600))
        return error.mean(), dict(high_noise=high, low_noise=low)

    def told(self, scenes: Scenes, generator: Generator) -> Words:
        """The scenes' captions, as the towers read them."""
        return self.clip.text(describe(scenes, generator, thing=0.95, layout=0.3, look=0.6).words)

    def predict(
        self,
        latents: LatentBatch,
        words: Words,
        times: Times,
        generator: Generator,
        where: Placements,
        *images: Tensor,
    ) -> tuple[LatentBatch, LatentBatch]:
        """The velocity predicted on freshly noised latents, and the true one."""
        noisy, wanted = self.diffusion.noised(latents, times, generator)
        return self.drawing(noisy, times, *words, where, *images), wanted
