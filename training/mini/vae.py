"""Stage `vae`: pictures ↔ latents, 4 px to a latent."""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Generator, Tensor

from instantstyle.world import MINI_SCOPE, sample_scenes
from training.mini.precision import quick
from training.mini.settings import PICTURE, SMALL_PICTURE, VAE
from training.mini.stage import Scalar, Stage

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
        side = SMALL_PICTURE if small else PICTURE
        pictures = sample_scenes(batch, generator, MINI_SCOPE).pictures(side, generator) * 2 - 1
        with quick():
            posterior = self.module.encode(pictures).latent_dist
            latents = posterior.sample(generator)
            # A little noise on top: the decoder must forgive what the UNet gets slightly wrong.
            latents = latents + NOISE * torch.randn(latents.shape, generator=generator)
            drawn = self.module.decode(latents).sample.float()
        error = (opponent(drawn) - opponent(pictures)).abs().mean()
        kl = 0.5 * (posterior.mean.pow(2) + posterior.var - 1 - posterior.logvar).mean()
        psnr = -10 * torch.log10((drawn.detach() - pictures).pow(2).mean() / 4)
        return error + EDGES * edge_error(drawn, pictures) + KL * kl, dict(psnr=psnr, kl=kl.detach())


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
