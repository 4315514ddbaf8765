"""Stage `adversarial-adapter`: from the adapter of stage `adapter` to one that transfers patterns.

The adapter goes on with the losses of stage `adversarial`, whose UNet it acts in and which stays frozen: latents that
follow from a reference must show what the reference shows.
"""

from pathlib import Path

import torch
from torch import Generator, nn

from training.mini.adapter import AdapterStage
from training.mini.adversarial import AdversarialTraining, sample_late_timesteps
from training.mini.adversarial_losses import AdversarialLosses
from training.mini.captions import scene_labels
from training.mini.discriminator import LatentDiscriminator
from training.mini.stage import Scalar, load_averaged_part, load_averaged_weights

USES = 2  # of each image, whose encodings take longer than in stage `adversarial`
GUIDE_WEIGHTS = {"thing": 2.0, "layout": 0.3, "ground": 1.5, "fill": 6.0}  # fills are the last to be transferred


class AdversarialAdapterStage(AdversarialTraining):
    """Trains adapter and discriminator in one step; each receives gradients from its own losses only."""

    discriminator_rate = 0.4  # eight times as fast, it forgets stage `adversarial` in 2,600 images

    def __init__(self, folder: Path, name: str = "adversarial-adapter") -> None:
        self.name = name
        self.before = AdapterStage(folder)
        self.before.module.load_state_dict(load_averaged_weights("adapter", folder))
        self.before.cache.uses = USES
        discriminator = LatentDiscriminator()
        discriminator.load_state_dict(load_averaged_part("adversarial", "discriminator", folder))
        self.module = nn.ModuleDict({"adapter": self.before.module, "discriminator": discriminator})
        self.losses = AdversarialLosses(discriminator, self.before.unet, folder, GUIDE_WEIGHTS)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Losses of the adapter plus those of the discriminator."""
        samples = self.before.sample_conditioning(batch, generator)
        timesteps = sample_late_timesteps(torch.rand(batch, generator=generator))
        velocities = self.before.predict_velocity(samples, timesteps, generator)
        labels = scene_labels(samples.scenes)
        return self.losses.joint_loss(samples.latents, timesteps, velocities, labels, samples.stated, generator)
