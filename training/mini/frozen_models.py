"""What earlier stages made, frozen, as later ones use it."""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from instantstyle.synthetic import MINI_SCOPE, Scenes, sample_scenes
from training.mini.clip import ClipStage, Towers, levelled
from training.mini.device import dice
from training.mini.settings import FINER, PICTURE, SEED, SEEN
from training.mini.stage import averaged, part_of
from training.mini.vae import Pictures, VaeFullStage, VaeStage
from training.mini.words import tokens

MEASURED = 256  # pictures, of whose latents the mean and spread are taken

Words = tuple[Float[Tensor, "caption word cross"], Float[Tensor, "caption shared"]]


class Latents:
    """Pictures as they are drawn ↔ latents of unit variance a channel.

    While `vae-full` is not trained, pictures are made smaller for `vae`, whose latents are the same, and come
    back so. Where `decoder` is trained, that one draws.
    """

    def __init__(self, folder: Path) -> None:
        full = (folder / "vae-full.pt").exists()
        self.vae = averaged(VaeFullStage(folder) if full else VaeStage(), folder)
        if (folder / "decoder.pt").exists():
            self.vae.load_state_dict(part_of("decoder", "vae", folder))
        self.shrunk = 1 if full else FINER
        pictures = sample_scenes(MEASURED, dice(SEED), MINI_SCOPE).pictures(PICTURE)
        raw = self._raw(pictures)
        self.mean = raw.mean((0, 2, 3), keepdim=True)
        self.std = raw.std((0, 2, 3), keepdim=True)

    @torch.no_grad()
    def _raw(self, pictures: Pictures) -> Float[Tensor, "picture channel y x"]:
        return self.vae.encode(F.avg_pool2d(pictures, self.shrunk) * 2 - 1).latent_dist.mode()

    def encode(self, pictures: Pictures) -> Float[Tensor, "picture channel y x"]:
        return (self._raw(pictures) - self.mean) / self.std

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "picture channel y x"]) -> Pictures:
        return (self.draw(latents) / 2 + 0.5).clamp(0, 1)

    def draw(self, latents: Float[Tensor, "picture channel y x"]) -> Pictures:
        """In -1..1 and a little beyond, as the decoder learns it."""
        return self.vae.decode(latents * self.std + self.mean).sample


class Clip:
    """The CLIP stage's towers as SDXL uses them, the first text tower as `text` has left it."""

    def __init__(self, folder: Path) -> None:
        latest = "vision" if (folder / "vision.pt").exists() else "clip"
        self.towers: Towers = averaged(ClipStage(folder, latest), folder)
        if (folder / "text.pt").exists():
            self.towers.text_1.load_state_dict(part_of("text", "tower", folder))

    @torch.no_grad()
    def text(self, words: list[str]) -> Words:
        """Both towers' last hidden states but one, side by side, and the second's projection."""
        ids = tokens(words)
        first = self.towers.text_1.text_model(ids, output_hidden_states=True)
        second = self.towers.text_2(ids, output_hidden_states=True)
        states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
        return states, second.text_embeds

    @torch.no_grad()
    def image(self, pictures: Pictures) -> Float[Tensor, "picture shared"]:
        return self.towers.vision(levelled(as_seen(pictures))).image_embeds


def where_kept(words: Words, kept: Bool[Tensor, " caption"]) -> Words:
    """Zeros where a caption is not kept, as SDXL's pipeline sends for an absent negative prompt."""
    states, pooled = words
    return states * kept[:, None, None], pooled * kept[:, None]


def as_seen(pictures: Pictures) -> Float[Tensor, "picture 3 seen seen"]:
    """Pictures of any larger size as the image tower and the judge look at them."""
    return F.adaptive_avg_pool2d(pictures, SEEN)


def placement(scenes: Scenes, size: int, told: Bool[Tensor, " scene"]) -> Float[Tensor, "scene 6"]:
    """SDXL's size and crop numbers: where told, the box of what is there; else those a plain call sends."""
    top, left, height, width = (scenes.layout.box * size).round().unbind(1)
    full = torch.full_like(top, size)
    exact = torch.stack([height, width, top.clamp(min=1), left.clamp(min=1), full, full], 1)
    plain = torch.stack([full, full, 0 * top, 0 * left, full, full], 1)
    return torch.where(told[:, None], exact, plain)
