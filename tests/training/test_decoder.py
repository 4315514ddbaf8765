"""The decoder learns from latents that are off as the UNet's are, the critic from what it makes of them."""

import pytest
import torch

from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from training.mini.decoder import GUESSED, DecoderStage
from training.mini.frozen import Latents
from training.mini.settings import CPU, PICTURE
from training.mini.stage import Run
from training.mini.stages import build

from ..helpers import dice
from .test_every_stage import tiny

pytestmark = pytest.mark.slow

SCENES = sample_scenes(4, dice(0), MINI_SCOPE)
SOME = round(GUESSED * len(SCENES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One in which the stages before it have been begun."""
    folder = tmp_path_factory.mktemp("before")
    torch.manual_seed(0)
    with tiny():
        for name in ("vae-full", "clip", "unet"):
            Run(build(name, folder), folder, CPU[name]).save()
        yield folder


@pytest.fixture(scope="module")
def stage(folder):
    return DecoderStage(folder)


@pytest.fixture(scope="module")
def latents(stage):
    return stage.latents.encode(SCENES.pictures(PICTURE))


def gradients(stage) -> dict[str, torch.Tensor]:
    return {name: weight.grad for name, weight in stage.module.named_parameters() if weight.grad is not None}


def test_some_latents_are_guesses_and_the_rest_have_noise(stage, latents):
    off = stage.off(latents, SCENES, dice(1))
    assert off.shape == latents.shape
    assert ((off - latents).abs().mean((1, 2, 3)) > 0.01).all()


def test_a_network_that_predicts_rightly_guesses_the_latents_themselves(stage, latents, monkeypatch):
    monkeypatch.setattr(stage.drawing, "predict", lambda *_, **__: (latents, latents))
    assert stage.guessed(latents, SCENES, dice(1)).equal(latents)


def test_what_it_guesses_wrongly_counts_by_the_noise(stage, latents, monkeypatch):
    """Where v̂ is one too large, x̂ is σ too small."""
    monkeypatch.setattr(stage.drawing, "predict", lambda *_, **__: (latents + 1, latents))
    missed = latents - stage.guessed(latents, SCENES, dice(1))
    noise = stage.drawing.diffusion.noise
    assert all((noise - one).abs().min() < 1e-4 for one in missed.mean((1, 2, 3)))


def test_encoder_and_unet_stay_as_they_are(stage):
    stage.loss(2, dice(2), 0.0)[0].backward()
    trained = set(gradients(stage))
    assert {name.split(".")[1] for name in trained if name.startswith("vae")} == {
        "decoder",
        "post_quant_conv",
    }
    assert not any(weight.requires_grad for weight in stage.drawing.module.parameters())
    stage.module.zero_grad()


def test_the_critic_learns_to_tell_apart_and_not_to_be_passed(stage, monkeypatch):
    """Its weight in the decoder's loss is nothing to the critic's own gradients, and all to the decoder's."""
    found = []
    for weight in (0.0, 10.0):
        monkeypatch.setattr("training.mini.decoder.CRITIC", weight)
        stage.module.zero_grad()
        stage.loss(2, dice(2), 0.0)[0].backward()
        found.append({name: gradient.clone() for name, gradient in gradients(stage).items()})
    without, with_it = found
    for name, gradient in without.items():
        same = torch.allclose(gradient, with_it[name], atol=1e-6)
        assert same == name.startswith("critic"), name


def test_where_it_is_trained_it_draws(folder, latents):
    torch.manual_seed(1)
    before = Latents(folder)
    run = Run(DecoderStage(folder), folder, CPU["decoder"])
    with torch.no_grad():
        run.averaged["vae"].decoder.conv_out.bias += 1
    run.save()
    after = Latents(folder)
    assert after.encode(SCENES.pictures(PICTURE)).equal(latents)
    assert torch.allclose(after.draw(latents), before.draw(latents) + 1, atol=1e-4)
