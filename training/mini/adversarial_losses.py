"""Losses of a network that predicts latents against a discriminator and a classifier of decoded images."""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Generator, Tensor
from torch.func import functional_call

from training.mini.captions import ATTRIBUTES
from training.mini.clip import augment
from training.mini.discriminator import Judgement, LatentDiscriminator
from training.mini.guide import GuideStage, classification_loss
from training.mini.nested_unet import LatentBatch, Timesteps
from training.mini.precision import autocast_if_faster
from training.mini.stage import Scalar, load_averaged_module, masked_mean, sum_losses
from training.mini.unet import UnetStage

DECODED_SHARE = 0.5  # share of images that are decoded for the guide, which takes longer than the UNet
NOISE = 0.04  # added to latents before the discriminator; with 0.15 it misses that plain grounds are mottled
ADVERSARIAL_WEIGHT, CLASS_WEIGHT, GUIDE_WEIGHT = 0.3, 0.15, 0.2
"""Of the discriminator's scores, its classes, and the guide's classes, relative to the velocity's squared error."""

DISCRIMINATOR_CLASS_WEIGHT = 0.3
CLASS_WEIGHTS = {"thing": 1.5, "layout": 0.2, "fill": 2.0, "body": 0.3, "behind": 0.3}
GUIDE_WEIGHTS = {"thing": 4.0, "layout": 0.3, "ground": 1.5, "fill": 2.5}

Labels = Int[Tensor, "image attribute"]
Stated = Bool[Tensor, "image attribute"]


class AdversarialLosses:
    """The two losses of adversarial training; each trains its own network only.

    Args:
        discriminator: Tells true latents from predicted ones.
        unet: The stage whose noise schedule and autoencoder are used.
        folder: Folder of the states, from which the guide is loaded.
        guide_weights: Weights of the attributes that the guide reads.
    """

    def __init__(
        self,
        discriminator: LatentDiscriminator,
        unet: UnetStage,
        folder: Path,
        guide_weights: Mapping[str, float] = GUIDE_WEIGHTS,
    ) -> None:
        self.guide_weights = guide_weights
        self.discriminator, self.codec, self.diffusion = discriminator, unet.codec, unet.diffusion
        self.guide = load_averaged_module(GuideStage(folder), folder)

    def joint_loss(
        self,
        latents: LatentBatch,
        timesteps: Timesteps,
        velocities: tuple[LatentBatch, LatentBatch],
        labels: Labels,
        stated: Stated,
        generator: Generator,
    ) -> tuple[Scalar, dict[str, Scalar]]:
        """Add up the squared error of a velocity and the losses of both networks.

        Args:
            latents: True latents of unit variance.
            timesteps: Timesteps of the noise.
            velocities: The predicted and the true velocity.
            labels: Class of each attribute, in the order of `ATTRIBUTES`.
            stated: Which attributes the conditioning states.
            generator: Source of random numbers.

        Returns:
            The loss, and detached values to report.
        """
        velocity, target = velocities
        predicted = self.diffusion.predict_latents(latents, timesteps, velocity, target)
        error = (velocity - target).pow(2).mean()
        own, parts = self.generator_loss(predicted, labels, stated, generator)
        discriminator = self.discriminator_loss(latents, predicted.detach(), labels, stated, generator)
        return error + own + discriminator, dict(error=error.detach(), discriminator=discriminator.detach(), **parts)

    def generator_loss(
        self, predicted: LatentBatch, labels: Labels, stated: Stated, generator: Generator
    ) -> tuple[Scalar, dict[str, Scalar]]:
        """Return the loss of predicted latents: how unlike true ones they are, and how unlike what is stated.

        Args:
            predicted: Predicted latents of unit variance.
            labels: Class of each attribute, in the order of `ATTRIBUTES`.
            stated: Which attributes the conditioning states; others have no influence.
            generator: Source of random numbers.

        Returns:
            The loss, and the share of decoded images of which the guide reads each attribute as stated.
        """
        noisy = add_fine_noise(predicted, generator)
        with autocast_if_faster():
            detached = dict(self.discriminator.state_dict())
            judged: Judgement = functional_call(self.discriminator, detached, (noisy, labels, stated))
            count = int(DECODED_SHARE * len(predicted))
            images = (self.codec.decode_unclamped(predicted[:count]) / 2 + 0.5).float()
            read, _ = self.guide(augment(images, generator))
        score = sum_losses(scores.mean() for scores in judged.scores) / len(judged.scores)
        by_name, stated_by_name = name_columns(labels), name_columns(stated)
        classes = classification_loss(judged.logits, by_name, stated_by_name, CLASS_WEIGHTS)
        decoded, stated_decoded = name_columns(labels[:count]), name_columns(stated[:count])
        guided = classification_loss(read, decoded, stated_decoded, self.guide_weights)
        parts = {
            f"read_{name}": masked_mean(stated_decoded[name], (logits.argmax(1) == decoded[name]).float())
            for name, logits in read.items()
        }
        return CLASS_WEIGHT * classes + GUIDE_WEIGHT * guided - ADVERSARIAL_WEIGHT * score, parts

    def discriminator_loss(
        self, latents: LatentBatch, predicted: LatentBatch, labels: Labels, stated: Stated, generator: Generator
    ) -> Scalar:
        """Hinge loss of the scores of true and predicted latents, and the classes of the true ones."""
        with autocast_if_faster():
            real = self.discriminator(add_fine_noise(latents, generator), labels, stated)
            fake = self.discriminator(add_fine_noise(predicted, generator), labels, stated)
        hinge = sum_losses(
            F.relu(1 - true).mean() + F.relu(1 + false).mean()
            for true, false in zip(real.scores, fake.scores, strict=True)
        )
        everything = name_columns(torch.ones_like(stated))
        classes = classification_loss(real.logits, name_columns(labels), everything, CLASS_WEIGHTS)
        return hinge / len(real.scores) + DISCRIMINATOR_CLASS_WEIGHT * classes


def add_fine_noise(latents: LatentBatch, generator: Generator) -> LatentBatch:
    """Add noise that hides the finest detail of latents of unit variance."""
    return latents + NOISE * torch.randn(latents.shape, generator=generator)


def name_columns(table: Tensor) -> dict[str, Tensor]:
    """Return the columns of a table by the names of `ATTRIBUTES`."""
    return dict(zip(ATTRIBUTES, table.unbind(1), strict=True))
