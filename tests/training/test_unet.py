import pytest
import torch

from training.mini.unet import Diffusion

from ..helpers import dice


@pytest.fixture(scope="module")
def diffusion() -> Diffusion:
    return Diffusion()


def test_latents_and_noise_can_be_had_back_from_the_velocity(diffusion):
    """x = α z − σ v and ε = σ z + α v, for z = α x + σ ε and v = α ε − σ x (arXiv 2202.00512)."""
    times = torch.tensor([0, 250, 500, 750, 999])
    latents = torch.randn(5, 8, 4, 4, generator=dice(0))
    noisy, velocity = diffusion.noised(latents, times, dice(1))
    signal, sigma = (column[times][:, None, None, None] for column in (diffusion.signal, diffusion.noise))
    assert torch.allclose(signal * noisy - sigma * velocity, latents, atol=1e-5)
    noise = torch.randn(5, 8, 4, 4, generator=dice(1))
    assert torch.allclose(sigma * noisy + signal * velocity, noise, atol=1e-5)


def test_the_last_step_is_noise_alone(diffusion):
    latents = torch.full((1, 1, 4, 4), 100.0)
    noisy, velocity = diffusion.noised(latents, torch.tensor([999]), dice(0))
    assert noisy.abs().max() < 10
    assert velocity.equal(-latents)


@pytest.mark.parametrize("favour", [1.0, 1.5, 2.5])
def test_times_are_steps_of_the_schedule(diffusion, favour):
    times = diffusion.times(5000, dice(0), favour)
    assert 0 <= times.min() < times.max() <= 999


def test_favour_bends_times_towards_high_noise(diffusion):
    shares = [(diffusion.times(5000, dice(0), favour) > 600).float().mean() for favour in (1.0, 1.5, 2.5)]
    assert shares[0] == pytest.approx(0.4, abs=0.02)
    assert shares[0] + 0.05 < shares[1] < shares[2] - 0.05
