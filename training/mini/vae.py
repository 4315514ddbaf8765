"""Stage `vae`: the autoencoder, with four channels and 4 px to a latent.

It is trained on parts of full images, where patterns have their full size, and on small whole images, from whose
latents the UNet learns shapes first.
"""

from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from jaxtyping import Float
from torch import Generator, Tensor

from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from training.mini.precision import autocast_if_faster
from training.mini.settings import IMAGE_SIZE, LATENT_SCALE, VAE
from training.mini.stage import Scalar, Stage

KL_WEIGHT, EDGE_WEIGHT, LATENT_NOISE = 3e-4, 1.0, 0.1
COARSE_WEIGHT = 4.0  # of the squared error of the mean colour of each latent's area
COLOUR_GAIN = 4.0
CROP_SIZE = 64  # px
SMALL_SIZES = (32, 64)  # px, of the images of `unet-8` and `unet-16`
SMALL_SHARE = 0.3  # share of batches with small whole images
CROPS_PER_IMAGE = 4  # rendering takes as long as a step

Images = Float[Tensor, "image 3 height width"]

# Brightness and two colour axes, orthonormal. Colour weighs more, otherwise four of five latent channels
# encode brightness.
OPPONENT = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / torch.tensor([[3], [2], [6]]).sqrt()
COLOUR_WEIGHTS = torch.tensor([1.0, 3.0, 3.0])


class VaeStage(Stage[AutoencoderKL]):
    """Trains the autoencoder."""

    def __init__(self, folder: Path | None = None, name: str = "vae") -> None:
        self.name, self.module = name, AutoencoderKL(**VAE)
        self.module.register_to_config(scaling_factor=1.0)
        amplify_colour(self.module)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Reconstruction loss and the weighted KL divergence."""
        images = sample_images(batch, generator) * 2 - 1
        with autocast_if_faster():
            posterior = encode_posterior(self.module, images)
            reconstructed = decode_noisy(self.module, posterior, generator)
        kl = kl_divergence(posterior)
        values = dict(psnr=psnr(reconstructed, images), kl=kl.detach())
        return reconstruction_loss(reconstructed, images) + KL_WEIGHT * kl, values


@torch.no_grad()
def amplify_colour(vae: AutoencoderKL) -> None:
    """Let a new encoder read the colour axes `COLOUR_GAIN` times as strongly, so that they vary as brightness does.

    Without it four channels encode brightness alone for more than 11,000 steps; with it colours begin to be encoded
    within 300 (batches of 4 parts of 64 px, two CPU cores that ran other work).
    """
    weight = vae.encoder.conv_in.weight
    gains = torch.tensor([1.0, COLOUR_GAIN, COLOUR_GAIN])
    weight.copy_(torch.einsum("oayx,a,ac->ocyx", weight, gains, OPPONENT))


def sample_images(count: int, generator: Generator) -> Images:
    """Render images of one size in 0..1: random parts of full images, or small whole ones."""
    if torch.rand(1, generator=generator).item() < SMALL_SHARE:
        size = SMALL_SIZES[int(torch.randint(len(SMALL_SIZES), (1,), generator=generator))]
        return sample_scenes(count, generator, MINI_SCOPE).render(size, generator)
    whole = sample_scenes(-(-count // CROPS_PER_IMAGE), generator, MINI_SCOPE).render(IMAGE_SIZE, generator)
    last = (IMAGE_SIZE - CROP_SIZE) // LATENT_SCALE
    corners = LATENT_SCALE * torch.randint(last + 1, (CROPS_PER_IMAGE, 2), generator=generator)
    crops = [whole[..., top : top + CROP_SIZE, left : left + CROP_SIZE] for top, left in corners.tolist()]
    return torch.cat(crops)[:count]


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


def reconstruction_loss(images: Images, targets: Images) -> Scalar:
    """Compare images in -1..1 in brightness and colour.

    Returns:
        The L1 distances of pixels and of differences between neighbours, plus the squared distance of the means of
        each latent's area.
    """
    difference = to_opponent_colours(images) - to_opponent_colours(targets)
    coarse = F.avg_pool2d(difference, LATENT_SCALE).pow(2).mean()
    return difference.abs().mean() + COARSE_WEIGHT * coarse + EDGE_WEIGHT * edge_loss(images, targets)


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

    Not every pipeline of SDXL reads `latents_mean` and `latents_std` of the configuration.

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
