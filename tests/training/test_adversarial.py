"""The adversarial stage: what trains the UNet, what trains the discriminator, and what later stages use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from training.mini.adversarial import AdversarialStage, sample_late_timesteps
from training.mini.captions import ATTRIBUTES
from training.mini.discriminator import LatentDiscriminator
from training.mini.settings import CPU
from training.mini.stage import Run, load_averaged_part
from training.mini.unet import ADVERSARIAL_SHARE, UnetStage, load_latest_unet

from ..helpers import seeded_generator
from .test_every_stage import untrained_states

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """A folder with untrained states of the earlier stages."""
    with untrained_states(tmp_path_factory.mktemp("before"), "vae", "clip", "unet", "guide") as folder:
        yield folder


@pytest.fixture(scope="module")
def stage(folder) -> AdversarialStage:
    return AdversarialStage(folder)


def gradients(stage: AdversarialStage) -> dict[str, Tensor]:
    """Return the gradient of each weight on one batch, which is the same in every call."""
    stage.module.zero_grad()
    stage.cache.remaining = 0
    stage.loss(8, seeded_generator(2), 0.0)[0].backward()
    return {name: weight.grad.clone() for name, weight in stage.module.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("name", ["ADVERSARIAL_WEIGHT", "CLASS_WEIGHT", "GUIDE_WEIGHT"])
def test_losses_of_the_unet_do_not_train_the_discriminator(stage, monkeypatch, name):
    before = gradients(stage)
    monkeypatch.setattr(f"training.mini.adversarial_losses.{name}", 10.0)
    after = gradients(stage)
    changed = {name.partition(".")[0] for name in before if not before[name].equal(after[name])}
    assert changed == {"unet"}


def test_the_discriminators_loss_does_not_train_the_unet(stage, monkeypatch):
    before = gradients(stage)
    monkeypatch.setattr("training.mini.adversarial_losses.DISCRIMINATOR_CLASS_WEIGHT", 10.0)
    after = gradients(stage)
    changed = {name.partition(".")[0] for name in before if not before[name].equal(after[name])}
    assert changed == {"discriminator"}


def test_the_guide_is_not_trained(stage):
    gradients(stage)
    assert all(weight.grad is None for weight in stage.losses.guide.parameters())


def test_the_first_images_are_predicted_from_noise_alone():
    timesteps = sample_late_timesteps(torch.zeros(16))
    assert timesteps.tolist() == [999] * 2 + [150] * 14


def test_the_predicted_latents_follow_from_the_velocity(stage, monkeypatch):
    """With v̂ = v, the predicted latents are the true ones, whatever their noise."""
    seen: list[Tensor] = []

    def record(predicted, *rest):
        seen.append(predicted)
        return predicted.mean() * 0, {}

    original = stage.before.predict_velocity
    monkeypatch.setattr(stage.before, "predict_velocity", lambda *inputs: (original(*inputs)[1],) * 2)
    monkeypatch.setattr(stage.losses, "generator_loss", record)
    monkeypatch.setattr(stage.losses, "discriminator_loss", lambda latents, *_: seen.append(latents) or latents.mean())
    stage.loss(8, seeded_generator(2), 0.0)
    assert seen[0].equal(seen[1])


def test_scores_depend_on_what_the_caption_states_and_on_nothing_else():
    discriminator = LatentDiscriminator()
    latents = torch.randn(2, 4, 32, 32, generator=seeded_generator(0))
    zeros = torch.zeros(2, len(ATTRIBUTES), dtype=torch.long)
    ones, fill = torch.ones_like(zeros), [*ATTRIBUTES].index("fill")
    stated = torch.zeros(2, len(ATTRIBUTES), dtype=torch.bool)
    stated[1, fill] = True
    with torch.no_grad():
        first, second = (discriminator(latents, labels, stated).scores for labels in (zeros, ones))
    for one, other in zip(first, second, strict=True):
        assert one[0].equal(other[0])
        assert not one[1].equal(other[1])


def test_unet_and_discriminator_keep_their_rates(stage, folder):
    run = Run(stage, folder, CPU["adversarial"])
    run.steps = 1000
    run.step()
    unet, discriminator = (optimiser.param_groups[0]["lr"] for optimiser in run.optimisers)
    assert discriminator == pytest.approx(5 * unet)
    assert unet == pytest.approx(run.learning_rate(), rel=1e-3)


def test_later_stages_use_the_unet_of_this_one(stage, folder):
    run = Run(stage, folder, CPU["adversarial"])
    with torch.no_grad():
        run.averaged.get_parameter("unet.conv_out.bias").add_(1)
    before = load_averaged_part("unet", "unet", folder)["conv_out.bias"]
    try:
        run.save()
        unet = load_latest_unet(UnetStage(folder), folder)
    finally:
        run.file.unlink()
    bias = unet.get_parameter("conv_out.bias")
    after = run.averaged.get_parameter("unet.conv_out.bias")
    assert bias.allclose(before.lerp(after, ADVERSARIAL_SHARE))
    assert not bias.allclose(after)
    assert not any(weight.requires_grad for weight in unet.parameters())
