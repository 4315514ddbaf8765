"""The full autoencoder takes over the matching weights of the small one, and its latents."""

from pathlib import Path

import pytest
import torch

from training.mini.settings import CPU, DOWNSCALE, ENCODER_IMAGE_SIZE, IMAGE_SIZE
from training.mini.stage import Run
from training.mini.vae import (
    VaeFullStage,
    VaeStage,
    decode_latents,
    encode_posterior,
    psnr,
    select_matching_weights,
)

from ..helpers import seeded_generator

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with an untrained state of `vae`."""
    torch.manual_seed(0)
    Run(VaeStage(), tmp_path, CPU["vae"]).save()
    return tmp_path


def test_latents_of_larger_images_have_the_same_shape(folder):
    small, full = VaeStage().module, VaeFullStage(folder).module
    images = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE, generator=seeded_generator(0))
    with torch.no_grad():
        latents = encode_posterior(full, images).mean
        small_latents = encode_posterior(small, images[..., ::DOWNSCALE, ::DOWNSCALE]).mean
        assert latents.shape == small_latents.shape
        assert decode_latents(full, latents).shape == images.shape
    assert ENCODER_IMAGE_SIZE * DOWNSCALE == IMAGE_SIZE


def test_the_decoder_starts_with_all_small_levels_except_the_last_layers(folder):
    small, full = VaeStage(), VaeFullStage(folder)
    taken = select_matching_weights(small.module.state_dict(), full.module)
    levels = {name for name in small.module.state_dict() if name.startswith("decoder.up_blocks")}
    assert levels <= taken.keys()
    assert "encoder.down_blocks.2.resnets.0.conv1.weight" in taken  # down_blocks.1 of the small one
    assert not {"encoder.conv_in.weight", "decoder.conv_out.weight"} & taken.keys()


def test_the_latents_approach_the_small_ones(folder):
    stage, errors = VaeFullStage(folder), []
    optimiser = torch.optim.Adam(stage.parameters(), lr=2e-3)
    for _ in range(12):
        loss, values = stage.loss(2, seeded_generator(5), 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(values["latent_error"].item())
    assert errors[-1] < 0.8 * errors[0]


def test_without_a_small_one_the_encoder_learns_from_the_reconstruction(tmp_path):
    """With a small one only the error of its latents trains the encoder."""
    stage = VaeFullStage(tmp_path)
    loss, values = stage.loss(2, seeded_generator(0), 0.0)
    (loss - values["latent_error"]).backward()
    gradient = stage.module.encoder.conv_in.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_psnr_is_in_decibels_of_the_whole_range():
    images = torch.zeros(1, 3, 4, 4)
    assert psnr(images + 0.2, images).item() == pytest.approx(20, abs=1e-3)
