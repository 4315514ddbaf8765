"""The autoencoder is trained on parts of full images and on small whole images."""

import pytest
import torch

from training.mini.settings import IMAGE_SIZE, LATENT_CHANNELS, LATENT_SCALE
from training.mini.vae import (
    COLOUR_GAIN,
    CROP_SIZE,
    OPPONENT,
    SMALL_SIZES,
    VaeStage,
    decode_latents,
    encode_posterior,
    psnr,
    sample_images,
)

from ..helpers import seeded_generator


@pytest.mark.slow
def test_latents_have_four_channels_and_a_quarter_of_the_side():
    vae = VaeStage().module
    images = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE, generator=seeded_generator(0))
    with torch.no_grad():
        latents = encode_posterior(vae, images).mean
        assert latents.shape == (1, LATENT_CHANNELS, IMAGE_SIZE // LATENT_SCALE, IMAGE_SIZE // LATENT_SCALE)
        assert decode_latents(vae, latents).shape == images.shape


def test_a_new_encoder_reads_colours_as_strongly_as_brightness():
    """The response to each axis has the same strength, although colours vary `COLOUR_GAIN` times less."""
    torch.manual_seed(0)
    weight = VaeStage().module.encoder.conv_in.weight.detach()
    responses = torch.einsum("ocyx,ac->oayx", weight, OPPONENT)
    brightness, *colours = responses.pow(2).mean((0, 2, 3)).sqrt().tolist()
    assert [colour / brightness for colour in colours] == pytest.approx([COLOUR_GAIN] * 2, rel=0.3)


def test_images_of_all_sizes_are_sampled():
    sizes = [tuple(sample_images(3, seeded_generator(seed)).shape) for seed in range(30)]
    assert {size[-1] for size in sizes} == {CROP_SIZE, *SMALL_SIZES}
    assert {size[:2] for size in sizes} == {(3, 3)}


def test_the_parts_of_an_image_differ():
    sampled = [sample_images(4, seeded_generator(seed)) for seed in range(30)]
    parts = next(images for images in sampled if images.shape[-1] == CROP_SIZE)
    assert len({part.numpy().tobytes() for part in parts}) > 1


def test_psnr_is_in_decibels_of_the_whole_range():
    images = torch.zeros(1, 3, 4, 4)
    assert psnr(images + 0.2, images).item() == pytest.approx(20, abs=1e-3)
