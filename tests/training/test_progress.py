"""What the UNet in training draws, as the classifier reads it."""

from typing import Any

import torch

from training.mini.progress import RENDERED, SAMPLERS, measure_progress
from training.mini.settings import LATENT_CHANNELS, LATENT_SCALE
from training.mini.unet import Diffusion

from ..helpers import seeded_generator


class KnowingStage:
    """A stage whose UNet knows the latents that are to be drawn, and whose latents are decoded to rendered images."""

    def __init__(self) -> None:
        self.clip = self.codec = self
        self.diffusion = Diffusion()
        self.target = torch.randn(4, LATENT_CHANNELS, 128 // LATENT_SCALE, 128 // LATENT_SCALE)
        self.drawn: list[torch.Tensor] = []
        self.captions: list[str] = []

    def encode_text(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        self.captions = texts
        return torch.zeros(len(texts), 3, 8), torch.zeros(len(texts), 8)

    def network(self, noisy, timesteps, states, pooled, sizes) -> torch.Tensor:
        """The velocity from which the target follows: x = α z − σ v."""
        assert len(noisy) == len(timesteps) == len(states) == len(pooled) == len(sizes) == 8
        signal, noise = (
            each[timesteps][:, None, None, None] for each in (self.diffusion.signal, self.diffusion.noise)
        )
        return (signal * noisy - self.target.repeat(2, 1, 1, 1)) / noise

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        self.drawn.append(latents)
        return torch.rand(4, 3, 128, 128, generator=seeded_generator(0))


def test_a_unet_that_knows_the_images_draws_them_and_other_images_are_read_as_wrong():
    stage: Any = KnowingStage()
    found = measure_progress(stage, 4, 7)
    assert len(stage.drawn) == sum(len(steps) for _, steps in SAMPLERS.values())
    for drawn in stage.drawn:
        assert torch.allclose(drawn, stage.target, atol=1e-3)
    assert len(set(stage.captions)) == 4
    rendered = found.pop(RENDERED)
    assert all(rendered["thing"] >= 0.75 > each["thing"] for each in found.values())
