"""Stage `controlnet`: a ControlNet (arXiv 2302.05543) that keeps the Canny edges of an image, with the UNet frozen."""

from pathlib import Path

import torch
from diffusers import ControlNetModel
from jaxtyping import Float
from torch import Generator, Tensor

from instantstyle.imaging.control_image import canny_edges
from instantstyle.synthetic import MINI_SCOPE, Scenes, to_pil_image
from training.mini.captions import sample_captions
from training.mini.frozen_models import TextConditioning, size_conditioning, zero_dropped
from training.mini.precision import autocast_if_faster
from training.mini.scene_cache import SceneCache
from training.mini.settings import CONTROLNET, IMAGE_SIZE
from training.mini.stage import Scalar, Stage, masked_mean
from training.mini.unet import UnetStage, load_latest_unet
from training.mini.vae import Images

CAPTION_DROPOUT = 0.5  # as in the paper, so that the edges have to convey the shapes
NOISE_BIAS = 1.5  # structure is decided at high noise


class ControlNetStage(Stage[ControlNetModel]):
    """Trains the ControlNet."""

    def __init__(self, folder: Path, name: str = "controlnet") -> None:
        self.name, self.module = name, ControlNetModel(**CONTROLNET)
        self.unet = UnetStage(folder)
        load_latest_unet(self.unet, folder)
        self.cache = SceneCache(MINI_SCOPE, [self.unet.codec.encode, detect_edges], self.encode_captions)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Mean squared error of the velocity; reported for images without words."""
        scenes, (latents, edges, *text) = self.cache.sample(batch, generator)
        kept = torch.rand(batch, generator=generator) >= CAPTION_DROPOUT
        states, pooled = zero_dropped(text[0], text[1], kept)
        timesteps = self.unet.diffusion.sample_timesteps(batch, generator, bias=NOISE_BIAS)
        sizes = size_conditioning(scenes, IMAGE_SIZE, torch.zeros(batch, dtype=torch.bool))
        noisy, target = self.unet.diffusion.add_noise(latents, timesteps, generator)
        added = dict(text_embeds=pooled, time_ids=sizes)
        control = edges.expand(-1, 3, -1, -1)
        with autocast_if_faster():
            down, middle = self.module(noisy, timesteps, states, control, added_cond_kwargs=added, return_dict=False)
            predicted = self.unet.module.unet(
                noisy,
                timesteps,
                states,
                added_cond_kwargs=added,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample.float()
        error = (predicted - target).pow(2).mean((1, 2, 3))
        return error.mean(), dict(without_words=masked_mean(~kept, error.detach()))

    def encode_captions(self, scenes: Scenes, generator: Generator) -> TextConditioning:
        """Encode a caption for each scene."""
        captions = sample_captions(scenes, generator, thing=0.9, layout=0.3, look=0.6)
        return self.unet.clip.encode_text(captions.texts)


def detect_edges(images: Images) -> Float[Tensor, "image 1 height width"]:
    """Detect the Canny edges of images in 0..1, as users of the ControlNet do; 1 on edges, 0 elsewhere."""
    edges = [canny_edges(to_pil_image(image)).convert("L") for image in images]
    planes = [
        torch.frombuffer(bytearray(plane.tobytes()), dtype=torch.uint8).view(images.shape[-2:]) for plane in edges
    ]
    return torch.stack(planes)[:, None].to(images) / 255
