"""Stages `vae` and `vae-full`: the autoencoder, learned at half the image size, then at the full size.

`vae` learns the latents, 4 px to each, on small images, where training is fast. `vae-full` keeps these
latents: its encoder predicts them from images of twice the side, and its decoder reconstructs these images
from them. Models that generate latents therefore work with either of the two.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from jaxtyping import Float
from torch import Generator, Tensor, nn

from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from training.mini.precision import autocast_if_faster
from training.mini.settings import (
    DOWNSCALE,
    ENCODER_IMAGE_SIZE,
    IMAGE_SIZE,
    SMALL_IMAGE_SIZE,
    VAE,
    VAE_FULL,
)
from training.mini.stage import Scalar, Stage, load_averaged_module, load_averaged_weights

KL_WEIGHT, EDGE_WEIGHT, LATENT_NOISE = 3e-4, 1.0, 0.1
SMALL_SHARE = 0.2  # share of batches with small images, for `unet-small`

Images = Float[Tensor, "image 3 height width"]

# Brightness and two colour axes, orthonormal. Colour weighs more, otherwise four of five latent channels
# encode brightness.
OPPONENT = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / torch.tensor([[3], [2], [6]]).sqrt()
COLOUR_WEIGHTS = torch.tensor([1.0, 3.0, 3.0])


class VaeStage(Stage[AutoencoderKL]):
    """Trains the small autoencoder."""

    def __init__(self, folder: Path | None = None, name: str = "vae") -> None:
        self.name, self.module = name, AutoencoderKL(**VAE)
        self.module.register_to_config(scaling_factor=1.0)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Reconstruction loss and the weighted KL divergence."""
        small = torch.rand(1, generator=generator).item() < SMALL_SHARE
        side = SMALL_IMAGE_SIZE // DOWNSCALE if small else ENCODER_IMAGE_SIZE
        images = sample_scenes(batch, generator, MINI_SCOPE).render(side, generator) * 2 - 1
        with autocast_if_faster():
            posterior = encode_posterior(self.module, images)
            reconstructed = decode_noisy(self.module, posterior, generator)
        kl = kl_divergence(posterior)
        values = dict(psnr=psnr(reconstructed, images), kl=kl.detach())
        return reconstruction_loss(reconstructed, images) + KL_WEIGHT * kl, values


class VaeFullStage(Stage[AutoencoderKL]):
    """Trains the full autoencoder.

    It starts from the weights of `vae` that fit and keeps its latents; without a trained `vae` it learns its
    own.
    """

    def __init__(self, folder: Path, name: str = "vae-full") -> None:
        self.name, self.module = name, AutoencoderKL(**{**VAE, **VAE_FULL})
        self.module.register_to_config(scaling_factor=1.0)
        self.small_vae: AutoencoderKL | None = None
        if (folder / "vae.pt").exists():
            self.small_vae = load_averaged_module(VaeStage(), folder)
            weights = select_matching_weights(load_averaged_weights("vae", folder), self.module)
            self.module.load_state_dict(weights, strict=False)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Reconstruction loss and the error of the encoder's latents."""
        images = sample_scenes(batch, generator, MINI_SCOPE).render(IMAGE_SIZE, generator) * 2 - 1
        with autocast_if_faster():
            posterior = encode_posterior(self.module, images)
            target, latent_error = self.target_posterior(posterior, images)
            reconstructed = decode_noisy(self.module, target, generator)
        values = dict(psnr=psnr(reconstructed, images), latent_error=latent_error.detach())
        return reconstruction_loss(reconstructed, images) + latent_error, values

    def target_posterior(
        self, posterior: DiagonalGaussianDistribution, images: Images
    ) -> tuple[DiagonalGaussianDistribution, Scalar]:
        """Return the posterior to decode from, and the loss of the encoder.

        With a small autoencoder these are its posterior of the downscaled images and the distance to it;
        without one, `posterior` and its weighted KL divergence.
        """
        if self.small_vae is None:
            return posterior, KL_WEIGHT * kl_divergence(posterior)
        with torch.no_grad():
            target = encode_posterior(self.small_vae, F.avg_pool2d(images, DOWNSCALE))
        mean_error = F.mse_loss(posterior.mean.float(), target.mean.float())
        return target, mean_error + 0.01 * F.mse_loss(posterior.logvar.float(), target.logvar.float())


def encode_posterior(vae: AutoencoderKL, images: Images) -> DiagonalGaussianDistribution:
    """Encode images in -1..1 to the distribution of their latents."""
    (posterior,) = vae.encode(images, return_dict=False)
    return posterior


def decode_latents(vae: AutoencoderKL, latents: Float[Tensor, "image channel y x"]) -> Images:
    """Decode latents to images in about -1..1."""
    images: Images = vae.decode(cast(Any, latents), return_dict=False)[0]  # annotated for `FloatTensor` only
    return images


def decode_noisy(vae: AutoencoderKL, posterior: DiagonalGaussianDistribution, generator: Generator) -> Images:
    """Decode a sample with a little noise added, so that the decoder tolerates small errors of the UNet."""
    latents = posterior.sample(generator)
    latents = latents + LATENT_NOISE * torch.randn(latents.shape, generator=generator)
    return decode_latents(vae, latents).float()


def kl_divergence(posterior: DiagonalGaussianDistribution) -> Scalar:
    """Return the mean Kullback–Leibler divergence of a latent from a unit normal (arXiv 1312.6114)."""
    return 0.5 * (posterior.mean.pow(2) + posterior.var - 1 - posterior.logvar).mean()


def select_matching_weights(weights: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Select the weights of `vae` that `vae-full` has too: its encoder has one additional first level."""
    own, matching = module.state_dict(), {}
    for name, weight in weights.items():
        shifted = re.sub(r"(?<=encoder\.down_blocks\.)\d", lambda number: str(int(number[0]) + 1), name)
        if shifted in own and own[shifted].shape == weight.shape:
            matching[shifted] = weight
    return matching


def reconstruction_loss(images: Images, targets: Images) -> Scalar:
    """Return the L1 distance in brightness and colour, plus that of the edges."""
    distance = (to_opponent_colours(images) - to_opponent_colours(targets)).abs().mean()
    return distance + EDGE_WEIGHT * edge_loss(images, targets)


def psnr(images: Images, targets: Images) -> Scalar:
    """Return the peak signal-to-noise ratio in dB of images in -1..1."""
    return -10 * torch.log10((images.detach() - targets).pow(2).mean() / 4)


def to_opponent_colours(images: Images) -> Images:
    """Convert RGB to brightness and two colour axes, weighted as in the loss."""
    axes = (COLOUR_WEIGHTS[:, None] * OPPONENT).to(images)
    return torch.einsum("oc,ncyx->noyx", axes, images)


def edge_loss(images: Images, targets: Images) -> Scalar:
    """Return the L1 distance of differences between neighbouring pixels, which keeps lines sharp."""
    across = F.l1_loss(images.diff(dim=-1), targets.diff(dim=-1))
    return across + F.l1_loss(images.diff(dim=-2), targets.diff(dim=-2))


@torch.no_grad()
def fold_latent_statistics(vae: AutoencoderKL, mean: Tensor, std: Tensor) -> AutoencoderKL:
    """Fold the mean and standard deviation of the latents into the autoencoder's 1 × 1 convolutions.

    SDXL's pipeline reads `latents_mean` and `latents_std` for four channels only; this model has eight.

    Args:
        vae: Autoencoder, changed in place.
        mean: Mean of each latent channel, [channel].
        std: Standard deviation of each latent channel, [channel].

    Returns:
        `vae`, whose latents have mean 0 and unit variance.
    """
    quantize, dequantize = vae.quant_conv, vae.post_quant_conv
    assert quantize is not None
    assert quantize.bias is not None
    assert dequantize is not None
    assert dequantize.bias is not None
    spread = torch.cat([std, torch.ones_like(std)])
    quantize.weight /= spread[:, None, None, None]
    quantize.bias -= torch.cat([mean, 2 * std.log()])
    quantize.bias /= spread
    dequantize.bias += dequantize.weight[..., 0, 0] @ mean
    dequantize.weight *= std[None, :, None, None]
    return vae
