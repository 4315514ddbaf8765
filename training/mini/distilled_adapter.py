"""Stage `distilled-adapter`: the adapter in the UNet of stage `distilled`, which transfers the look from images alone.

The UNet of stage `adversarial` with its adapter draws from an image and from words together: the image gives the
colours, and the words of its look give ground, fill and outline, which the adapter alone transfers less well. What
both draw is distilled, as in stage `distilled`, into an adapter that is given the image without these words.

In a share of the images it acts in the style block alone, and its teacher in the blocks in which that one transfers a
look. So mini's adapter is trained for the use that InstantStyle makes of it, which SDXL's is not.
"""

from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import LCMScheduler
from diffusers.models.attention_processor import AttnProcessor
from jaxtyping import Bool
from torch import Generator, Tensor, nn

from instantstyle.synthetic import MINI_SCOPE, Scenes, describe_look
from training.mini.abstract_images import render_abstract_images
from training.mini.adapter import (
    ABSTRACT_SHARE,
    CAPTION_DROPOUT,
    adversarial_adapter_weights,
    install_adapter,
    make_initial_weights,
    misname,
)
from training.mini.captions import sample_captions
from training.mini.distilled import NOISE_BIAS, STYLE_BLOCK, OutsideBlocks
from training.mini.frozen_models import size_conditioning, zero_dropped
from training.mini.graphed_unet import TensorUNet
from training.mini.muon import Muon
from training.mini.nested_unet import LatentBatch, Timesteps
from training.mini.scene_cache import SceneCache
from training.mini.settings import FEW_STEP_SAMPLER, IMAGE_SIZE
from training.mini.stage import Scalar, Stage, make_adamw, masked_mean
from training.mini.unet import UnetStage, load_adversarial_unet, load_latest_unet

TAUGHT_BLOCKS = (STYLE_BLOCK, "up_blocks.0.attentions.2")
"""Blocks in which the teacher's image acts where the student's acts in the style block alone."""

ALONE_SHARE = 0.6  # share of images whose reference acts in these blocks alone
IMAGE_DROPOUT = 0.06
SAMPLED_SHARE = 0.75  # share of batches whose noisy latents are the student's own
STEPS = 4  # of the sampler that draws them


class DistilledAdapterStage(Stage[nn.ModuleDict]):
    """Trains the adapter in the latest UNet; the adapter before it, in the UNet before, is the teacher."""

    def __init__(self, folder: Path, name: str = "distilled-adapter") -> None:
        self.name = name
        self.before = UnetStage(folder)
        plain = deepcopy(load_latest_unet(self.before, folder))
        plain.set_attn_processor(AttnProcessor())
        student, teacher = deepcopy(plain), load_adversarial_unet(self.before, folder)
        weights = adversarial_adapter_weights(folder)
        adapters = [install_adapter(unet, make_initial_weights(unet)) for unet in (student, teacher)]
        for adapter in adapters:
            adapter.load_state_dict(weights)
        self.module = adapters[0]
        adapters[1].requires_grad_(False)
        self.plain, self.student, self.teacher = TensorUNet(plain), TensorUNet(student), TensorUNet(teacher)
        self.outside_student = OutsideBlocks(student, [STYLE_BLOCK])
        self.outside_teacher = OutsideBlocks(teacher, TAUGHT_BLOCKS)
        encoders = [self.before.codec.encode, self.before.clip.encode_image]
        self.cache = SceneCache(MINI_SCOPE, encoders, self.encode_scenes)

    def make_optimisers(self, lr: float) -> list[torch.optim.Optimizer]:
        """Make Muon for the matrices, and AdamW for the other weights."""
        matrices = [weight for weight in self.parameters() if weight.dim() > 1]
        others = [weight for weight in self.parameters() if weight.dim() <= 1]
        return [Muon(matrices, lr, weight_decay=0.0), make_adamw(others, lr)]

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Mean squared difference of the two velocities; reported for the kinds of references.

        Abstract images have no look that words name. Without an image, the adapter may change nothing.
        """
        scenes, (latents, embeds, abstract_embeds, *text) = self.cache.sample(batch, generator)
        states, pooled, full_states, full_pooled = text
        uniform = torch.rand(3, batch, generator=generator)
        has_image = uniform[0] >= IMAGE_DROPOUT
        is_abstract = (uniform[1] < ABSTRACT_SHARE) & has_image
        is_alone = (uniform[2] < ALONE_SHARE) & has_image
        has_look = has_image & ~is_abstract
        images = (torch.where(is_abstract[:, None], abstract_embeds, embeds) * has_image[:, None])[:, None]
        sizes = size_conditioning(scenes, IMAGE_SIZE, torch.zeros(batch, dtype=torch.bool))
        noisy, timesteps = self.sample_noisy(latents, (states, pooled, sizes, images), is_alone, generator)
        with torch.no_grad():
            full_states = torch.where(has_look[:, None, None], full_states, states)
            full_pooled = torch.where(has_look[:, None], full_pooled, pooled)
            with self.outside_teacher(partial(remove_image, rows=is_alone)):
                target = self.teacher(noisy, timesteps, full_states, full_pooled, sizes, images)
            if len(rows := (~has_image).nonzero().flatten()):
                plain_inputs = (part[rows] for part in (noisy, timesteps, states, pooled, sizes))
                target[rows] = self.plain(*plain_inputs)
        with self.outside_student(partial(remove_image, rows=is_alone)):
            predicted = self.student(noisy, timesteps, states, pooled, sizes, images)
        error = (predicted - target).pow(2).mean((1, 2, 3))
        kinds = dict(
            alone=has_look & is_alone, whole=has_look & ~is_alone, abstract=is_abstract, without_image=~has_image
        )
        return error.mean(), {name: masked_mean(rows, error.detach()) for name, rows in kinds.items()}

    @torch.no_grad()
    def sample_noisy(
        self,
        latents: LatentBatch,
        inputs: tuple[Tensor, ...],
        is_alone: Bool[Tensor, " image"],
        generator: Generator,
    ) -> tuple[LatentBatch, Timesteps]:
        """Sample noisy latents and their timesteps: the student's own in a sampler, or of the scenes.

        The latents of a scene show its look, which the student then need not take from the reference. What it has
        drawn itself does not (on-policy distillation, arXiv 2306.13649).
        """
        batch, diffusion = len(latents), self.before.diffusion
        if torch.rand((), generator=generator) >= SAMPLED_SHARE:
            timesteps = diffusion.sample_timesteps(batch, generator, bias=NOISE_BIAS)
            return diffusion.add_noise(latents, timesteps, generator)[0], timesteps
        scheduler: Any = LCMScheduler(**FEW_STEP_SAMPLER)
        scheduler.set_timesteps(STEPS)
        drawn = torch.randn(latents.shape, generator=generator)
        count = int(torch.randint(STEPS, (), generator=generator))
        for timestep in scheduler.timesteps[:count]:
            with self.outside_student(partial(remove_image, rows=is_alone)):
                velocity = self.student(drawn, timestep.repeat(batch), *inputs)
            drawn = scheduler.step(velocity, timestep, drawn, generator=generator).prev_sample
        return drawn, scheduler.timesteps[count].repeat(batch)

    def encode_scenes(self, scenes: Scenes, generator: Generator) -> tuple[Tensor, ...]:
        """Encode abstract images in the scenes' colours, captions of objects, and the same captions with the look."""
        abstract_images = render_abstract_images(scenes.look, IMAGE_SIZE, generator)
        texts = sample_captions(misname(scenes, generator), generator, thing=1.0, layout=0.3, look=0.0).texts
        dropped = torch.rand(len(scenes), generator=generator) < CAPTION_DROPOUT
        looks = [describe_look(scenes.look, row) for row in range(len(scenes))]
        full = [
            look if without_text else f"{text}, {look}"
            for text, look, without_text in zip(texts, looks, dropped.tolist(), strict=True)
        ]
        encode = self.before.clip.encode_text
        return (
            self.before.clip.encode_image(abstract_images),
            *zero_dropped(*encode(texts), ~dropped),
            *encode(full),
        )


def remove_image(own: tuple[Tensor, list[Tensor]], rows: Bool[Tensor, " image"]) -> tuple[Tensor, list[Tensor]]:
    """Return the words of a call, and the tokens of its images, which for `rows` are zeros.

    Their keys and values, which have no bias, are zeros too.
    """
    states, tokens = own
    return states, [each * ~rows[:, None, None, None] for each in tokens]
