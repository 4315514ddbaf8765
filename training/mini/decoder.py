"""Stage `decoder`: decode the imperfect latents of the UNet to clean images.

A small UNet makes small errors: grounds are mottled and lines swell. The decoder continues from `vae`,
whose encoder and latents stay fixed, and is trained on latents with such errors: predicted by the UNet from
noisy ones, or with noise added. A patch discriminator (arXiv 1611.07004) keeps it from blurring what is
ambiguous; Stable Diffusion's autoencoder was trained with one too (arXiv 2112.10752).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, nn
from torch.func import functional_call

from instantstyle.synthetic import MINI_SCOPE, Scenes, sample_scenes
from training.mini.captions import sample_captions
from training.mini.frozen_models import size_conditioning
from training.mini.nested_unet import LatentBatch
from training.mini.precision import autocast_if_faster
from training.mini.settings import IMAGE_SIZE
from training.mini.stage import Scalar, Stage
from training.mini.unet import UnetStage, load_latest_unet
from training.mini.vae import psnr, reconstruction_loss

PREDICTED_SHARE = 0.5  # share of latents predicted by the UNet; the others have noise added
MAX_TIMESTEP = 500  # noisiest step predicted from; beyond it the UNet may rightly predict another object
MAX_NOISE = 0.4  # of latents with unit variance
ADVERSARIAL_WEIGHT = 0.03  # relative to the reconstruction loss; chosen by eye


class PatchDiscriminator(nn.Sequential):
    """Scores patches of 38 px: above 0 for images of the synthetic dataset, below 0 for decoded ones."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 32, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, 2, 1), nn.GroupNorm(8, 64), nn.LeakyReLU(0.2),
            nn.Conv2d(64, 96, 4, 2, 1), nn.GroupNorm(8, 96), nn.LeakyReLU(0.2),
            nn.Conv2d(96, 1, 3, 1, 1),
        )  # fmt: skip


class DecoderStage(Stage[nn.ModuleDict]):
    """Trains decoder and discriminator in one step; each receives gradients from its own loss only."""

    def __init__(self, folder: Path, name: str = "decoder") -> None:
        self.name = name
        self.unet = UnetStage(folder)
        load_latest_unet(self.unet, folder)
        self.codec = self.unet.codec
        vae = self.codec.vae
        assert vae.post_quant_conv is not None
        for part in (vae.decoder, vae.post_quant_conv):
            part.requires_grad_(True)
        self.discriminator = PatchDiscriminator()
        self.module = nn.ModuleDict({"vae": vae, "critic": self.discriminator})

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Reconstruction and adversarial loss of the decoder, plus the hinge loss of the discriminator."""
        scenes = sample_scenes(batch, generator, MINI_SCOPE)
        images = scenes.render(IMAGE_SIZE, generator)
        latents = self.degrade_latents(self.codec.encode(images), scenes, generator)
        images = images * 2 - 1
        with autocast_if_faster():
            decoded = self.codec.decode_unclamped(latents).float()
            # A call with detached weights: the adversarial loss must not train the discriminator.
            detached = dict(self.discriminator.state_dict())
            score = functional_call(self.discriminator, detached, decoded).float()
            real = self.discriminator(images).float()
            fake = self.discriminator(decoded.detach()).float()
        discriminator_loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        loss = reconstruction_loss(decoded, images) - ADVERSARIAL_WEIGHT * score.mean() + discriminator_loss
        return loss, dict(psnr=psnr(decoded, images), discriminator=discriminator_loss.detach())

    @torch.no_grad()
    def degrade_latents(self, latents: LatentBatch, scenes: Scenes, generator: Generator) -> LatentBatch:
        """Replace the first latents by predictions of the UNet and add noise to the others."""
        count = round(PREDICTED_SHARE * len(latents))
        rest = latents[count:]
        spread = MAX_NOISE * torch.rand(len(rest), 1, 1, 1, generator=generator)
        noisy = rest + spread * torch.randn(rest.shape, generator=generator)
        return torch.cat([self.predict_latents(latents[:count], scenes[:count], generator), noisy])

    def predict_latents(self, latents: LatentBatch, scenes: Scenes, generator: Generator) -> LatentBatch:
        """Predict latents with the UNet from their noisy versions and full captions."""
        count = len(latents)
        captions = sample_captions(scenes, generator, thing=1.0, layout=0.5, look=0.8)
        text = self.unet.clip.encode_text(captions.texts)
        timesteps = torch.randint(MAX_TIMESTEP, (count,), generator=generator)
        sizes = size_conditioning(scenes, IMAGE_SIZE, torch.zeros(count, dtype=torch.bool))
        predicted, target = self.unet.predict_velocity(latents, text, timesteps, generator, sizes)
        return self.unet.diffusion.predict_latents(latents, timesteps, predicted, target)
