"""What earlier stages made, frozen, as later ones use it."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from instantstyle.world import MINI_SCOPE, Scenes, sample_scenes
from training.mini.clip import MEAN, STD, ClipStage
from training.mini.settings import PICTURE, SEED
from training.mini.stage import averaged
from training.mini.vae import VaeStage
from training.mini.words import tokens


class Latents:
    """Pictures ↔ latents of unit variance a channel."""

    def __init__(self, folder: Path):
        self.vae = averaged(VaeStage(), folder)
        pictures = sample_scenes(256, Generator().manual_seed(SEED), MINI_SCOPE).pictures(PICTURE)
        raw = self._raw(pictures)
        self.mean = raw.mean((0, 2, 3), keepdim=True)
        self.std = raw.std((0, 2, 3), keepdim=True)

    @torch.no_grad()
    def _raw(self, pictures: Tensor) -> Tensor:
        return self.vae.encode(pictures * 2 - 1).latent_dist.mode()

    def encode(self, pictures: Float[Tensor, "picture 3 h w"]) -> Float[Tensor, "picture channel y x"]:
        return (self._raw(pictures) - self.mean) / self.std

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "picture channel y x"]) -> Float[Tensor, "picture 3 h w"]:
        return (self.vae.decode(latents * self.std + self.mean).sample / 2 + 0.5).clamp(0, 1)


class Clip:
    """The CLIP stage's towers as SDXL uses them."""

    def __init__(self, folder: Path):
        latest = "vision" if (folder / "vision.pt").exists() else "clip"
        self.towers: nn.Module = averaged(ClipStage(latest, folder), folder)

    @torch.no_grad()
    def text(self, words: list[str]) -> tuple[Float[Tensor, "caption word cross"], Float[Tensor, "caption shared"]]:
        """Both towers' last hidden states but one, side by side, and the second's projection."""
        ids = tokens(words)
        first = self.towers.text_1.text_model(ids, output_hidden_states=True)
        second = self.towers.text_2(ids, output_hidden_states=True)
        return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1), second.text_embeds

    @torch.no_grad()
    def image(self, pictures: Float[Tensor, "picture 3 64 64"]) -> Float[Tensor, "picture shared"]:
        return self.towers.vision((pictures - MEAN) / STD).image_embeds


def placement(scenes: Scenes, size: int, told: Tensor) -> Float[Tensor, "scene 6"]:
    """SDXL's size and crop numbers: where told, the box of what is there; else those a plain call sends."""
    top, left, height, width = (scenes.layout.box * size).round().unbind(1)
    full = torch.full_like(top, size)
    exact = torch.stack([height, width, top.clamp(min=1), left.clamp(min=1), full, full], 1)
    plain = torch.stack([full, full, 0 * top, 0 * left, full, full], 1)
    return torch.where(told[:, None], exact, plain)
