"""The decoder is trained on latents with the errors of the UNet, and the discriminator on its output."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from training.mini.decoder import PREDICTED_SHARE, DecoderStage
from training.mini.frozen_models import LatentCodec
from training.mini.settings import CPU, IMAGE_SIZE
from training.mini.stage import Run

from ..helpers import seeded_generator
from .test_every_stage import untrained_states

pytestmark = pytest.mark.slow

SCENES = sample_scenes(4, seeded_generator(0), MINI_SCOPE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """A folder with untrained states of the earlier stages."""
    with untrained_states(tmp_path_factory.mktemp("before"), "vae", "clip", "unet") as folder:
        yield folder


@pytest.fixture(scope="module")
def stage(folder) -> DecoderStage:
    return DecoderStage(folder)


@pytest.fixture(scope="module")
def latents(stage) -> Tensor:
    return stage.codec.encode(SCENES.render(IMAGE_SIZE))


def gradients(stage: DecoderStage) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in stage.module.named_parameters() if weight.grad is not None}


def test_some_latents_are_predicted_and_the_others_have_noise(stage, latents):
    degraded = stage.degrade_latents(latents, SCENES, seeded_generator(1))
    assert 0 < round(PREDICTED_SHARE * len(latents)) < len(latents)
    assert degraded.shape == latents.shape
    assert ((degraded - latents).abs().mean((1, 2, 3)) > 0.01).all()


def test_a_perfect_velocity_predicts_the_latents_themselves(stage, latents, monkeypatch):
    monkeypatch.setattr(stage.unet, "predict_velocity", lambda *_, **__: (latents, latents))
    assert stage.predict_latents(latents, SCENES, seeded_generator(1)).equal(latents)


def test_an_error_of_the_velocity_counts_by_the_noise(stage, latents, monkeypatch):
    """If v̂ is too large by one, x̂ is too small by σ."""
    monkeypatch.setattr(stage.unet, "predict_velocity", lambda *_, **__: (latents + 1, latents))
    missing = latents - stage.predict_latents(latents, SCENES, seeded_generator(1))
    noise = stage.unet.diffusion.noise
    assert all((noise - one).abs().min() < 1e-4 for one in missing.mean((1, 2, 3)))


def test_encoder_and_unet_are_not_trained(stage):
    stage.loss(2, seeded_generator(2), 0.0)[0].backward()
    trained = set(gradients(stage))
    assert {name.split(".")[1] for name in trained if name.startswith("vae")} == {
        "decoder",
        "post_quant_conv",
    }
    assert not any(weight.requires_grad for weight in stage.unet.module.parameters())
    stage.module.zero_grad()


def test_the_adversarial_loss_trains_the_decoder_only(stage, monkeypatch):
    """Its weight affects all gradients of the decoder and none of the discriminator."""
    found = []
    for weight in (0.0, 10.0):
        monkeypatch.setattr("training.mini.decoder.ADVERSARIAL_WEIGHT", weight)
        stage.module.zero_grad()
        stage.loss(2, seeded_generator(2), 0.0)[0].backward()
        found.append({name: gradient.clone() for name, gradient in gradients(stage).items()})
    without, with_it = found
    for name, gradient in without.items():
        same = gradient.equal(with_it[name])
        assert same == name.startswith("critic"), name


def test_later_stages_use_a_trained_decoder(folder, latents):
    torch.manual_seed(1)
    before = LatentCodec(folder)
    run = Run(DecoderStage(folder), folder, CPU["decoder"])
    with torch.no_grad():
        run.averaged.get_parameter("vae.decoder.conv_out.bias").add_(1)
    run.save()
    after = LatentCodec(folder)
    assert after.encode(SCENES.render(IMAGE_SIZE)).equal(latents)
    decoded = after.decode_unclamped(latents)
    assert torch.allclose(decoded, before.decode_unclamped(latents) + 1, atol=1e-4)
