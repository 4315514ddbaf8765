"""Stage `vae`: pictures ↔ latents, 4 px to a latent, on crops and on small whole pictures."""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Generator, Tensor

from instantstyle.world import MINI_SCOPE, sample_scenes
from training.mini.settings import PICTURE, VAE
from training.mini.stage import Scalar, Stage

CROP = 32  # px: a quarter of the cost of a whole picture
KL, EDGES, NOISE = 3e-4, 0.5, 0.1

Pictures = Float[Tensor, "picture 3 height width"]

# Light, then two colour axes, orthonormal; colour weighs more, or four channels in five go into light.
OPPONENT = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / torch.tensor([[3], [2], [6]]).sqrt()
COLOUR = torch.tensor([1.0, 3.0, 3.0])


class VaeStage(Stage[AutoencoderKL]):
    def __init__(self, folder: Path | None = None, name: str = "vae") -> None:
        self.name, self.module = name, AutoencoderKL(**VAE)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        pictures = self.pictures(batch, generator) * 2 - 1
        posterior = self.module.encode(pictures).latent_dist
        latents = posterior.sample(generator)
        # A little noise on top: the decoder must forgive what the UNet gets slightly wrong.
        latents = latents + NOISE * torch.randn(latents.shape, generator=generator)
        drawn = self.module.decode(latents).sample
        error = (opponent(drawn) - opponent(pictures)).abs().mean()
        kl = 0.5 * (posterior.mean.pow(2) + posterior.var - 1 - posterior.logvar).mean()
        psnr = -10 * torch.log10((drawn.detach() - pictures).pow(2).mean() / 4)
        return error + EDGES * edge_error(drawn, pictures) + KL * kl, dict(psnr=psnr, kl=kl.detach())

    def pictures(self, batch: int, generator: Generator) -> Pictures:
        """Half crops at full size, half whole pictures at half size (the UNet draws those)."""
        whole = sample_scenes(batch // 2, generator, MINI_SCOPE).pictures(CROP, generator)
        large = sample_scenes(batch - batch // 2, generator, MINI_SCOPE).pictures(PICTURE, generator)
        top, left = torch.randint(0, PICTURE - CROP + 1, (2,), generator=generator).tolist()
        return torch.cat([whole, large[..., top : top + CROP, left : left + CROP]])


def opponent(pictures: Pictures) -> Pictures:
    """RGB → light and colour, as weighted in the loss."""
    return torch.einsum("oc,ncyx->noyx", COLOUR[:, None] * OPPONENT, pictures)


def edge_error(drawn: Pictures, wanted: Pictures) -> Scalar:
    """L1 between the two pictures' differences of neighbouring pixels: keeps lines sharp."""
    across = F.l1_loss(drawn.diff(dim=-1), wanted.diff(dim=-1))
    return across + F.l1_loss(drawn.diff(dim=-2), wanted.diff(dim=-2))
