"""Stages `vae` and `vae-full`: pictures ↔ latents, learnt at half the size, then drawn from at the full one.

`vae` finds the latents, 4 px to each, on small pictures, where that is quick. `vae-full` keeps them: its
encoder reads the same ones off pictures of twice the side, and its decoder draws these, with edges as sharp.
So whatever draws latents need not know which of the two is there.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution as Posterior
from jaxtyping import Float
from torch import Generator, Tensor, nn

from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from training.mini.precision import quick
from training.mini.settings import FINER, PICTURE, SEEN, SMALL_PICTURE, VAE, VAE_FULL
from training.mini.stage import Scalar, Stage, averaged, weights_of

KL, EDGES, NOISE = 3e-4, 1.0, 0.1
SMALL = 0.2  # of the batches are small pictures, for `unet-small`

Pictures = Float[Tensor, "picture 3 height width"]

# Light, then two colour axes, orthonormal; colour weighs more, or four channels in five go into light.
OPPONENT = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / torch.tensor([[3], [2], [6]]).sqrt()
COLOUR = torch.tensor([1.0, 3.0, 3.0])


class VaeStage(Stage[AutoencoderKL]):
    def __init__(self, folder: Path | None = None, name: str = "vae") -> None:
        self.name, self.module = name, AutoencoderKL(**VAE)
        self.module.register_to_config(scaling_factor=1.0)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        small = torch.rand(1, generator=generator).item() < SMALL
        side = SMALL_PICTURE // FINER if small else SEEN
        pictures = sample_scenes(batch, generator, MINI_SCOPE).pictures(side, generator) * 2 - 1
        with quick():
            posterior = self.module.encode(pictures).latent_dist
            latents = posterior.sample(generator)
            # A little noise on top: the decoder must forgive what the UNet gets slightly wrong.
            latents = latents + NOISE * torch.randn(latents.shape, generator=generator)
            drawn = self.module.decode(latents).sample.float()
        kl = divergence(posterior)
        return unlike(drawn, pictures) + KL * kl, dict(psnr=psnr(drawn, pictures), kl=kl.detach())


class VaeFullStage(Stage[AutoencoderKL]):
    """Begins with all that fits of `vae` and keeps its latents. Where there is no `vae`, it finds its own."""

    def __init__(self, folder: Path, name: str = "vae-full") -> None:
        self.name, self.module = name, AutoencoderKL(**{**VAE, **VAE_FULL})
        self.module.register_to_config(scaling_factor=1.0)
        self.kept: AutoencoderKL | None = None
        if (folder / "vae.pt").exists():
            self.kept = averaged(VaeStage(), folder)
            self.module.load_state_dict(fitting(weights_of("vae", folder), self.module), strict=False)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        pictures = sample_scenes(batch, generator, MINI_SCOPE).pictures(PICTURE, generator) * 2 - 1
        with quick():
            found = self.module.encode(pictures).latent_dist
            drawn_from, astray = self.latents(found, pictures)
            latents = drawn_from.sample(generator)
            latents = latents + NOISE * torch.randn(latents.shape, generator=generator)
            drawn = self.module.decode(latents).sample.float()
        return unlike(drawn, pictures) + astray, dict(psnr=psnr(drawn, pictures), astray=astray.detach())

    def latents(self, found: Posterior, pictures: Pictures) -> tuple[Posterior, Scalar]:
        """What the decoder is to draw from, and how far the encoder is astray of what it should find."""
        if self.kept is None:
            return found, KL * divergence(found)
        with torch.no_grad():
            wanted = self.kept.encode(F.avg_pool2d(pictures, FINER)).latent_dist
        missed = F.mse_loss(found.mean.float(), wanted.mean.float())
        return wanted, missed + 0.01 * F.mse_loss(found.logvar.float(), wanted.logvar.float())


def divergence(posterior: Posterior) -> Scalar:
    """Mean Kullback–Leibler divergence from a unit normal, a latent (arXiv 1312.6114)."""
    return 0.5 * (posterior.mean.pow(2) + posterior.var - 1 - posterior.logvar).mean()


def fitting(weights: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Of `vae`'s weights those that `vae-full` has too: its encoder has one level more at the entrance."""
    own, found = module.state_dict(), {}
    for name, weight in weights.items():
        moved = re.sub(r"(?<=encoder\.down_blocks\.)\d", lambda number: str(int(number[0]) + 1), name)
        if moved in own and own[moved].shape == weight.shape:
            found[moved] = weight
    return found


def unlike(drawn: Pictures, wanted: Pictures) -> Scalar:
    """L1 in light and colour, and in edges."""
    return (opponent(drawn) - opponent(wanted)).abs().mean() + EDGES * edge_error(drawn, wanted)


def psnr(drawn: Pictures, wanted: Pictures) -> Scalar:
    """In dB, of pictures in -1..1."""
    return -10 * torch.log10((drawn.detach() - wanted).pow(2).mean() / 4)


def opponent(pictures: Pictures) -> Pictures:
    """RGB → light and colour, as weighted in the loss."""
    axes = (COLOUR[:, None] * OPPONENT).to(pictures)
    return torch.einsum("oc,ncyx->noyx", axes, pictures)


def edge_error(drawn: Pictures, wanted: Pictures) -> Scalar:
    """L1 between the two pictures' differences of neighbouring pixels: keeps lines sharp."""
    across = F.l1_loss(drawn.diff(dim=-1), wanted.diff(dim=-1))
    return across + F.l1_loss(drawn.diff(dim=-2), wanted.diff(dim=-2))


@torch.no_grad()
def with_statistics(vae: AutoencoderKL, mean: Tensor, std: Tensor) -> AutoencoderKL:
    """The autoencoder with its latents' mean and spread (a number a channel) worked into its waist.

    SDXL's pipeline reads `latents_mean` and `latents_std` for four channels only, and ours has eight.
    """
    spread = torch.cat([std, torch.ones_like(std)])
    vae.quant_conv.weight /= spread[:, None, None, None]
    vae.quant_conv.bias -= torch.cat([mean, 2 * std.log()])
    vae.quant_conv.bias /= spread
    vae.post_quant_conv.bias += vae.post_quant_conv.weight[..., 0, 0] @ mean
    vae.post_quant_conv.weight *= std[None, :, None, None]
    return vae
