"""Stage `adversarial`: from the UNet of stage `unet` to one that draws patterns, in few steps and without guidance.

A velocity trained by its squared error alone is a mean: of hatchings whose phase is unknown it is a plain colour. Here
the latents that the UNet predicts from noisy ones must also pass for latents of rendered images, as in UFOGen
(arXiv 2311.09257) and latent adversarial diffusion distillation (arXiv 2403.12015), and show what the caption states:
to the discriminator, and decoded to the classifier of stage `guide`. As its predictions are images in themselves, few
steps are enough, with new noise between them (`LCMScheduler` of diffusers).
"""

from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from jaxtyping import Float
from torch import Generator, Tensor, nn

from instantstyle.synthetic import MINI_SCOPE, Scenes
from training.mini.adversarial_losses import AdversarialLosses
from training.mini.captions import sample_captions
from training.mini.discriminator import LatentDiscriminator
from training.mini.frozen_models import size_conditioning, zero_dropped
from training.mini.nested_unet import Timesteps
from training.mini.scene_cache import SceneCache
from training.mini.settings import IMAGE_SIZE
from training.mini.stage import Scalar, Stage, load_averaged_module, make_adamw
from training.mini.unet import CAPTION_DROPOUT, UnetStage

MIN_TIMESTEP = 150  # below it the prediction is the image itself, with little left to draw
FIRST_STEP_SHARE = 0.125  # share of images predicted from noise alone, as in the first step of a sampler
BOX_SHARE = 0.3  # share of images with the box in the size conditioning
USES = 1  # of each image, so that the discriminator does not know them by heart
BETAS = (0.5, 0.99)

LabelledText = tuple[Float[Tensor, "image token cross"], Float[Tensor, "image width"], Tensor, Tensor]


class AdversarialTraining(Stage[nn.ModuleDict]):
    """A stage whose module has two parts: a network that predicts latents, and the discriminator.

    Attributes:
        discriminator_rate: Learning rate of the discriminator, relative to that of the network that predicts.
    """

    discriminator_rate: float

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        """Return the weights of each part, whose gradients are limited apart."""
        return [[*part.parameters()] for part in self.module.values()]

    def make_optimisers(self, lr: float) -> list[torch.optim.Optimizer]:
        """Make an optimiser for the network that predicts, and one for the discriminator."""
        predicting, discriminator = self.parameter_groups()
        return [
            make_adamw(predicting, lr, betas=BETAS),
            make_adamw(discriminator, self.discriminator_rate * lr, betas=BETAS),
        ]


class AdversarialStage(AdversarialTraining):
    """Trains UNet and discriminator in one step; each receives gradients from its own losses only."""

    discriminator_rate = 5.0

    def __init__(self, folder: Path, name: str = "adversarial") -> None:
        self.name = name
        self.before = UnetStage(folder)
        unet = load_averaged_module(self.before, folder).unet.requires_grad_(True)
        unet.set_attn_processor(AttnProcessor())
        self.module = nn.ModuleDict({"unet": unet, "discriminator": (discriminator := LatentDiscriminator())})
        self.losses = AdversarialLosses(discriminator, self.before, folder)
        self.cache = SceneCache(MINI_SCOPE, [self.before.codec.encode], self.encode_captions, uses=USES)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Losses of the UNet plus those of the discriminator."""
        scenes, (latents, states, pooled, labels, stated) = self.cache.sample(batch, generator)
        uniform = torch.rand(3, batch, generator=generator)
        kept = uniform[0] >= CAPTION_DROPOUT
        labels, stated = labels.long(), (stated * kept[:, None]).bool()
        timesteps = sample_late_timesteps(uniform[2])
        sizes = size_conditioning(scenes, IMAGE_SIZE, uniform[1] < BOX_SHARE)
        velocities = self.before.predict_velocity(
            latents, zero_dropped(states, pooled, kept), timesteps, generator, sizes
        )
        return self.losses.joint_loss(latents, timesteps, velocities, labels, stated, generator)

    def encode_captions(self, scenes: Scenes, generator: Generator) -> LabelledText:
        """Encode a caption for each scene, and return with it what it states."""
        captions = sample_captions(scenes, generator, thing=0.95, layout=0.3, look=0.85)
        return *self.before.clip.encode_text(captions.texts), captions.labels, captions.stated


def sample_late_timesteps(uniform: Float[Tensor, " image"]) -> Timesteps:
    """Return the noisiest timestep for the first images, and others in `MIN_TIMESTEP`..999.

    Args:
        uniform: Random numbers in 0..1.
    """
    timesteps = (MIN_TIMESTEP + (1000 - MIN_TIMESTEP) * uniform).long().clamp(max=999)
    timesteps[: int(FIRST_STEP_SHARE * len(uniform))] = 999
    return timesteps
