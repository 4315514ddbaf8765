"""Stages `unet-small` and `unet`: noise → latents, told by words; grown from half size to full size."""

from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Generator, Tensor

from instantstyle.world import MINI_SCOPE, Scenes, Scope, sample_scenes
from training.mini.frozen import Clip, Latents, placement
from training.mini.settings import PICTURE, SCHEDULE, SMALL_SCOPE, UNET
from training.mini.stage import Stage
from training.mini.words import describe

DROPPED = 0.1  # of the captions, for guidance: zeros, as SDXL's pipeline sends for an absent negative prompt
TOLD = 0.5  # of the placements, so that layout can still be learnt


class Diffusion:
    """Noise, its schedule and the target, shared by all stages that draw."""

    def __init__(self) -> None:
        schedule = DDIMScheduler(**SCHEDULE).alphas_cumprod
        self.signal, self.noise = schedule.sqrt(), (1 - schedule).sqrt()

    def times(self, count: int, generator: Generator, favour: float) -> Tensor:
        """Time steps 0..999; `favour` > 1 bends them towards high noise, where shapes are decided."""
        lot = torch.rand(count, generator=generator)
        return (1000 * favour * lot / (1 + (favour - 1) * lot)).long().clamp(max=999)

    def noised(self, latents: Tensor, times: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Noisy latents and the velocity to predict, v = α ε − σ x (arXiv 2202.00512)."""
        noise = torch.randn(latents.shape, generator=generator)
        signal, sigma = (column[times][:, None, None, None] for column in (self.signal, self.noise))
        return signal * latents + sigma * noise, signal * noise - sigma * latents


class UnetStage(Stage):
    def __init__(self, name: str, folder: Path):
        self.name, small = name, name == "unet-small"
        self.size = PICTURE // 2 if small else PICTURE
        self.scope: Scope = SMALL_SCOPE if small else MINI_SCOPE
        self.module = UNet2DConditionModel(**UNET)
        self.latents, self.clip, self.diffusion = Latents(folder), Clip(folder), Diffusion()
        earlier = folder / "unet-small.pt"
        if not small and earlier.exists():
            self.module.load_state_dict(torch.load(earlier, weights_only=True)["averaged"])

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        scenes = sample_scenes(batch, generator, self.scope)
        captions = describe(scenes, generator, thing=0.95, layout=0.3, look=0.45)
        states, pooled = self.clip.text(captions.words)
        kept = (torch.rand(batch, generator=generator) >= DROPPED).float()
        told = torch.rand(batch, generator=generator) < TOLD
        times = self.diffusion.times(batch, generator, favour=2.5 - 1.0 * progress)
        predicted, wanted = self.predict(scenes, states * kept[:, None, None], pooled * kept[:, None], told, times, generator)
        error = (predicted - wanted).pow(2).mean((1, 2, 3))
        early = times > 600
        return error.mean(), dict(high_noise=error[early].mean().detach(), low_noise=error[~early].mean().detach())

    def predict(
        self, scenes: Scenes, states: Tensor, pooled: Tensor, told: Tensor, times: Tensor, generator: Generator, **extra
    ) -> tuple[Tensor, Tensor]:
        """The velocity predicted on freshly noised pictures of the scenes, and the true one."""
        latents = self.latents.encode(scenes.pictures(self.size, generator))
        noisy, wanted = self.diffusion.noised(latents, times, generator)
        added = dict(text_embeds=pooled, time_ids=placement(scenes, self.size, told), **extra)
        return self.module(noisy, times, states, added_cond_kwargs=added).sample, wanted
