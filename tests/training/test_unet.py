"""Noise, velocity and timesteps of the UNet's training."""

import pytest
import torch

from training.mini.unet import Diffusion

from ..helpers import seeded_generator


@pytest.fixture(scope="module")
def diffusion() -> Diffusion:
    return Diffusion()


def test_latents_and_noise_follow_from_the_velocity(diffusion):
    """x = α z − σ v and ε = σ z + α v, for z = α x + σ ε and v = α ε − σ x (arXiv 2202.00512)."""
    timesteps = torch.tensor([0, 250, 500, 750, 999])
    latents = torch.randn(5, 8, 4, 4, generator=seeded_generator(0))
    noisy, velocity = diffusion.add_noise(latents, timesteps, seeded_generator(1))
    signal, sigma = (column[timesteps][:, None, None, None] for column in (diffusion.signal, diffusion.noise))
    assert torch.allclose(signal * noisy - sigma * velocity, latents, atol=1e-5)
    noise = torch.randn(5, 8, 4, 4, generator=seeded_generator(1))
    assert torch.allclose(sigma * noisy + signal * velocity, noise, atol=1e-5)


def test_the_last_timestep_is_pure_noise(diffusion):
    latents = torch.full((1, 1, 4, 4), 100.0)
    noisy, velocity = diffusion.add_noise(latents, torch.tensor([999]), seeded_generator(0))
    assert noisy.abs().max() < 10
    assert velocity.equal(-latents)


@pytest.mark.parametrize("bias", [1.0, 1.5, 2.5])
def test_timesteps_are_those_of_the_schedule(diffusion, bias):
    timesteps = diffusion.sample_timesteps(5000, seeded_generator(0), bias)
    assert 0 <= timesteps.min() < timesteps.max() <= 999


def test_the_bias_prefers_high_noise(diffusion):
    shares = [
        (diffusion.sample_timesteps(5000, seeded_generator(0), bias) > 600).float().mean() for bias in (1.0, 1.5, 2.5)
    ]
    assert shares[0] == pytest.approx(0.4, abs=0.02)
    assert shares[0] + 0.05 < shares[1] < shares[2] - 0.05
