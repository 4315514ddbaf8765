"""Stage `vae-full`: whole pictures ↔ the latents of the same pictures at half size.

The UNet learns things several times faster on 8 × 8 latents than on 16 × 16; how a thing's edge runs at full
size is then the decoder's to know.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Generator, nn

from instantstyle.world import MINI_SCOPE, sample_scenes
from training.mini.frozen import Latents
from training.mini.settings import PICTURE, VAE_FULL
from training.mini.stage import Scalar, Stage
from training.mini.vae import EDGES, edge_error, opponent

NOISE = 0.15  # standard deviation on latents of unit variance: what the UNet gets slightly wrong
SURE = -4.0  # the encoder's log-variance: nobody samples from it


class FullStage(Stage[AutoencoderKL]):
    def __init__(self, folder: Path, name: str = "vae-full") -> None:
        self.name, self.module, self.latents = name, AutoencoderKL(**VAE_FULL), Latents(folder)
        self.module.register_to_config(scaling_factor=1.0)
        grow(self.module, with_statistics(Latents(folder)))

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        pictures = sample_scenes(batch, generator, MINI_SCOPE).pictures(PICTURE, generator)
        latents = self.latents.encode(F.avg_pool2d(pictures, 2))
        noisy = latents + NOISE * torch.randn(latents.shape, generator=generator)
        wanted = pictures * 2 - 1
        drawn = self.module.decode(noisy).sample
        error = (opponent(drawn) - opponent(wanted)).abs().mean() + EDGES * edge_error(drawn, wanted)
        told = self.module.encode(wanted).latent_dist
        seen = F.mse_loss(told.mean, latents) + 0.01 * (told.logvar - SURE).pow(2).mean()
        psnr = -10 * torch.log10((drawn.detach() - wanted).pow(2).mean() / 4)
        return error + 0.3 * seen, dict(psnr=psnr, encoder=seen.detach())


@torch.no_grad()
def grow(full: AutoencoderKL, half: AutoencoderKL) -> None:
    """Begin as the half-size autoencoder with its pictures enlarged: the new level does nothing yet."""
    weights = half.state_dict()
    down = {name: weight for name, weight in weights.items() if name.startswith("encoder.down_blocks.")}
    full.load_state_dict({name: weights[name] for name in weights.keys() - down.keys()}, strict=False)
    full.load_state_dict({_a_level_on(name): weight for name, weight in down.items()}, strict=False)
    for resnet in (*full.encoder.down_blocks[0].resnets, *full.decoder.up_blocks[-1].resnets):
        nn.init.zeros_(resnet.conv2.weight)
        nn.init.zeros_(resnet.conv2.bias)
    nn.init.dirac_(full.decoder.up_blocks[-2].upsamplers[0].conv.weight)
    nn.init.zeros_(full.decoder.up_blocks[-2].upsamplers[0].conv.bias)


def _a_level_on(name: str) -> str:
    *front, level, rest = name.split(".", 3)
    return ".".join([*front, str(int(level) + 1), rest])


@torch.no_grad()
def with_statistics(latents: Latents) -> AutoencoderKL:
    """The autoencoder with its latents' mean and spread worked into the convolutions at its waist.

    SDXL's pipeline reads `latents_mean` and `latents_std` for four channels only, and ours has eight.
    """
    vae, mean, std = latents.vae, latents.mean.flatten(), latents.std.flatten()
    spread = torch.cat([std, torch.ones_like(std)])
    vae.quant_conv.weight /= spread[:, None, None, None]
    vae.quant_conv.bias -= torch.cat([mean, 2 * std.log()])
    vae.quant_conv.bias /= spread
    vae.post_quant_conv.bias += vae.post_quant_conv.weight[..., 0, 0] @ mean
    vae.post_quant_conv.weight *= std[None, :, None, None]
    return vae
