"""Stage `adversarial-adapter`: from the adapter of stage `adapter` to one that transfers patterns.

The adapter goes on with the losses of stage `adversarial`, whose UNet it acts in and which stays frozen: latents that
follow from a reference must show what the reference shows.
"""

from pathlib import Path

import torch
from torch import Generator, nn

from training.mini.adapter import AdapterStage
from training.mini.adversarial import USES, make_adversarial_optimisers, sample_late_timesteps
from training.mini.adversarial_losses import AdversarialLosses
from training.mini.discriminator import LatentDiscriminator
from training.mini.stage import Scalar, Stage, load_averaged_part, load_averaged_weights


class AdversarialAdapterStage(Stage[nn.ModuleDict]):
    """Trains adapter and discriminator in one step; each receives gradients from its own losses only."""

    def __init__(self, folder: Path, name: str = "adversarial-adapter") -> None:
        self.name = name
        self.before = AdapterStage(folder)
        self.before.module.load_state_dict(load_averaged_weights("adapter", folder))
        self.before.cache.uses = USES
        discriminator = LatentDiscriminator()
        discriminator.load_state_dict(load_averaged_part("adversarial", "discriminator", folder))
        self.module = nn.ModuleDict({"adapter": self.before.module, "discriminator": discriminator})
        self.losses = AdversarialLosses(discriminator, self.before.unet.codec, folder)

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        """Return the weights of the adapter and those of the discriminator, whose gradients are limited apart."""
        return [[*part.parameters()] for part in self.module.values()]

    def make_optimisers(self, lr: float) -> list[torch.optim.Optimizer]:
        """Make an optimiser for the adapter and one for the discriminator."""
        return make_adversarial_optimisers(self, lr)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Losses of the adapter plus those of the discriminator."""
        samples = self.before.sample_conditioning(batch, generator)
        timesteps = sample_late_timesteps(torch.rand(batch, generator=generator))
        velocity, target = self.before.predict_velocity(samples, timesteps, generator)
        diffusion = self.before.unet.diffusion
        predicted = diffusion.predict_latents(samples.latents, timesteps, velocity, target)
        error, known = (velocity - target).pow(2).mean(), (samples.labels, samples.stated)
        adapter, parts = self.losses.generator_loss(predicted, *known, generator)
        discriminator = self.losses.discriminator_loss(samples.latents, predicted.detach(), *known, generator)
        return error + adapter + discriminator, dict(
            error=error.detach(), discriminator=discriminator.detach(), **parts
        )
