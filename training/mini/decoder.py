"""Stage `decoder`: latents as the UNet leaves them → clean pictures.

What a small UNet draws is a little off: grounds are mottled and lines swell. The decoder goes on from
`vae-full`, whose encoder and latents stay, on latents that are off in the same ways: guessed by the UNet from
noisy ones, or with noise on top. A critic that looks at patches (arXiv 1611.07004) keeps it from answering
doubt with blur; Stable Diffusion's own autoencoder was trained so too (arXiv 2112.10752).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, nn
from torch.func import functional_call

from instantstyle.synthetic import MINI_SCOPE, Scenes, sample_scenes
from training.mini.drawing import LatentBatch
from training.mini.frozen import placement
from training.mini.precision import quick
from training.mini.settings import PICTURE
from training.mini.stage import Scalar, Stage, averaged
from training.mini.unet import UnetStage
from training.mini.vae import psnr, unlike
from training.mini.words import describe

GUESSED = 0.5  # of the latents are the UNet's guesses, the rest have noise on top
GUESSED_UNTIL = 500  # the noisiest step guessed from; beyond it the UNet may rightly see another thing
NOISE = 0.4  # at most, where latents have unit variance
CRITIC = 0.03  # its weight beside what differs; chosen by eye


class Critic(nn.Sequential):
    """Above 0 where a patch of 38 px looks drawn by the world, below where by the decoder."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 32, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, 2, 1), nn.GroupNorm(8, 64), nn.LeakyReLU(0.2),
            nn.Conv2d(64, 96, 4, 2, 1), nn.GroupNorm(8, 96), nn.LeakyReLU(0.2),
            nn.Conv2d(96, 1, 3, 1, 1),
        )  # fmt: skip


class DecoderStage(Stage[nn.ModuleDict]):
    """Trains decoder and critic in one step: each one's loss reaches it alone."""

    def __init__(self, folder: Path, name: str = "decoder") -> None:
        self.name = name
        self.drawing = UnetStage(folder)
        averaged(self.drawing, folder)
        self.latents = self.drawing.latents
        vae = self.latents.vae
        for part in (vae.decoder, vae.post_quant_conv):
            part.requires_grad_(True)
        self.critic = Critic()
        self.module = nn.ModuleDict({"vae": vae, "critic": self.critic})

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        scenes = sample_scenes(batch, generator, MINI_SCOPE)
        pictures = scenes.pictures(PICTURE, generator)
        off = self.off(self.latents.encode(pictures), scenes, generator)
        pictures = pictures * 2 - 1
        with quick():
            drawn = self.latents.draw(off).float()
            passed = functional_call(self.critic, dict(self.critic.state_dict()), drawn).float()
            real, made = self.critic(pictures).float(), self.critic(drawn.detach()).float()
        told = F.relu(1 - real).mean() + F.relu(1 + made).mean()
        loss = unlike(drawn, pictures) - CRITIC * passed.mean() + told
        return loss, dict(psnr=psnr(drawn, pictures), told=told.detach())

    @torch.no_grad()
    def off(self, latents: LatentBatch, scenes: Scenes, generator: Generator) -> LatentBatch:
        """The latents, somewhat wrong: the first of them as guessed by the UNet, the rest with noise."""
        some = round(GUESSED * len(latents))
        rest = latents[some:]
        spread = NOISE * torch.rand(len(rest), 1, 1, 1, generator=generator)
        noisy = rest + spread * torch.randn(rest.shape, generator=generator)
        return torch.cat([self.guessed(latents[:some], scenes[:some], generator), noisy])

    def guessed(self, latents: LatentBatch, scenes: Scenes, generator: Generator) -> LatentBatch:
        """What the UNet takes the latents for when it sees them through noise, told by whole captions.

        x̂ = α x_t − σ v̂, and x = α x_t − σ v: so x̂ = x − σ (v̂ − v).
        """
        count = len(latents)
        captions = describe(scenes, generator, thing=1.0, layout=0.5, look=0.8)
        words = self.drawing.clip.text(captions.words)
        times = torch.randint(GUESSED_UNTIL, (count,), generator=generator)
        where = placement(scenes, PICTURE, torch.zeros(count, dtype=torch.bool))
        predicted, wanted = self.drawing.predict(latents, words, times, generator, where)
        return latents - self.drawing.diffusion.noise[times][:, None, None, None] * (predicted - wanted)
