"""The models of earlier stages, frozen, as later stages use them."""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from instantstyle.synthetic import MINI_SCOPE, Scenes, sample_scenes
from training.mini.captions import tokenize
from training.mini.clip import ClipModels, ClipStage, normalize
from training.mini.device import seeded_generator
from training.mini.settings import ENCODER_IMAGE_SIZE, IMAGE_SIZE, SEED
from training.mini.stage import load_averaged_module, load_averaged_part
from training.mini.vae import Images, VaeStage, decode_latents, encode_posterior

STATISTICS_IMAGES = 256
"""Number of images from which the mean and standard deviation of the latents are estimated."""

TextConditioning = tuple[Float[Tensor, "caption token cross"], Float[Tensor, "caption width"]]
"""Hidden states of both text encoders, concatenated, and the pooled projection of the second."""


class LatentCodec:
    """Converts images to latents of unit variance in each channel, and back.

    With a trained `decoder`, its decoder is used.
    """

    def __init__(self, folder: Path) -> None:
        self.vae = load_averaged_module(VaeStage(), folder)
        if (folder / "decoder.pt").exists():
            self.vae.load_state_dict(load_averaged_part("decoder", "vae", folder))
        images = sample_scenes(STATISTICS_IMAGES, seeded_generator(SEED), MINI_SCOPE).render(IMAGE_SIZE)
        raw = self._encode_raw(images)
        self.mean = raw.mean((0, 2, 3), keepdim=True)
        self.std = raw.std((0, 2, 3), keepdim=True)

    @torch.no_grad()
    def _encode_raw(self, images: Images) -> Float[Tensor, "image channel y x"]:
        return encode_posterior(self.vae, images * 2 - 1).mode()

    def encode(self, images: Images) -> Float[Tensor, "image channel y x"]:
        """Encode images in 0..1 of any size divisible by `LATENT_SCALE`."""
        return (self._encode_raw(images) - self.mean) / self.std

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "image channel y x"]) -> Images:
        """Decode latents to images in 0..1."""
        return (self.decode_unclamped(latents) / 2 + 0.5).clamp(0, 1)

    def decode_unclamped(self, latents: Float[Tensor, "image channel y x"]) -> Images:
        """Decode latents to images in about -1..1, with gradients."""
        return decode_latents(self.vae, latents * self.std + self.mean)


class FrozenClip:
    """The encoders of stage `clip` as SDXL uses them; the first text encoder is that of `text` if trained."""

    def __init__(self, folder: Path) -> None:
        self.models: ClipModels = load_averaged_module(ClipStage(folder, find_latest_encoders(folder)), folder)
        if (folder / "text.pt").exists():
            self.models.text_1.load_state_dict(load_averaged_part("text", "tower", folder))

    @torch.no_grad()
    def encode_text(self, texts: list[str]) -> TextConditioning:
        """Return the penultimate hidden states of both text encoders, and the projection of the second."""
        ids = tokenize(texts)
        first = self.models.text_1.text_model(ids, output_hidden_states=True)
        second = self.models.text_2(ids, output_hidden_states=True)
        states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
        return states, second.text_embeds

    @torch.no_grad()
    def encode_image(self, images: Images) -> Float[Tensor, "image width"]:
        """Return the projected embeddings of images in 0..1 of any size from `ENCODER_IMAGE_SIZE`."""
        return self.models.vision(normalize(resize_for_encoder(images))).image_embeds


def find_latest_encoders(folder: Path) -> str:
    """Return the name of the last stage that has trained the image encoder."""
    return "vision" if (folder / "vision.pt").exists() else "clip"


def zero_dropped(
    states: Float[Tensor, "caption token cross"],
    pooled: Float[Tensor, "caption width"],
    kept: Bool[Tensor, " caption"],
) -> TextConditioning:
    """Set dropped captions to zeros, as SDXL's pipeline does for a missing negative prompt."""
    return states * kept[:, None, None], pooled * kept[:, None]


def resize_for_encoder(images: Images) -> Float[Tensor, "image 3 size size"]:
    """Average images of any larger size down to `ENCODER_IMAGE_SIZE`."""
    return F.adaptive_avg_pool2d(images, ENCODER_IMAGE_SIZE)


def size_conditioning(scenes: Scenes, size: int, with_box: Bool[Tensor, " scene"]) -> Float[Tensor, "scene 6"]:
    """Make SDXL's size and crop conditioning.

    Args:
        scenes: The scenes that the images show.
        size: Side of the images in px.
        with_box: Where true, the conditioning is the box of the scene's objects; elsewhere that of a call
            without size arguments.

    Returns:
        Original size, top left corner and target size, in px.
    """
    top, left, height, width = (scenes.layout.bounding_box * size).round().unbind(1)
    full = torch.full_like(top, size)
    box = torch.stack([height, width, top.clamp(min=1), left.clamp(min=1), full, full], 1)
    plain = torch.stack([full, full, 0 * top, 0 * left, full, full], 1)
    return torch.where(with_box[:, None], box, plain)
