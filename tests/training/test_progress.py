"""What the UNet in training draws, as the classifier reads it."""

import json
from typing import Any

import pytest
import torch

from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from training.mini.progress import (
    DECODED,
    FEW_STEP_SAMPLERS,
    RENDERED,
    SAMPLERS,
    main,
    measure_progress,
    measure_rendered,
)
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
        self.calls = 0

    def encode_text(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        self.captions = texts
        return torch.zeros(len(texts), 3, 8), torch.zeros(len(texts), 8)

    def network(self, noisy, timesteps, states, pooled, sizes) -> torch.Tensor:
        """The velocity from which the target follows: x = α z − σ v."""
        assert len(noisy) == len(timesteps) == len(states) == len(pooled) == len(sizes) == 4
        self.calls += 1
        signal, noise = (
            each[timesteps][:, None, None, None] for each in (self.diffusion.signal, self.diffusion.noise)
        )
        return (signal * noisy - self.target) / noise

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        self.drawn.append(latents)
        return torch.rand(4, 3, 128, 128, generator=seeded_generator(0))

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images


@pytest.mark.parametrize(("samplers", "guidance", "calls"), [(SAMPLERS, 3.0, 2), (FEW_STEP_SAMPLERS, 1.0, 1)])
def test_a_unet_that_knows_the_images_draws_them(samplers, guidance, calls):
    stage: Any = KnowingStage()
    scenes = sample_scenes(4, seeded_generator(7), MINI_SCOPE)
    found = measure_progress(stage, scenes, 7, samplers, guidance)
    steps = [number for _, numbers in samplers.values() for number in numbers]
    assert len(stage.drawn) == len(found) == len(steps)
    for drawn in stage.drawn:
        assert torch.allclose(drawn, stage.target, atol=1e-3)
    assert stage.calls == calls * sum(steps)
    assert len(set(stage.captions)) == 4
    assert all(each["thing"] < 0.75 for each in found.values())


def test_rendered_scenes_are_read_and_wrong_images_are_not():
    stage: Any = KnowingStage()
    found = measure_rendered(stage, sample_scenes(4, seeded_generator(7), MINI_SCOPE), 7)
    assert found[RENDERED]["thing"] >= 0.75 > found[DECODED]["thing"]


def test_results_of_other_scenes_are_not_mixed(tmp_path, capsys):
    file = tmp_path / "progress.json"
    file.write_text(before := json.dumps({"settings": {"images": 5, "seed": 7, "guidance": 3.0}}))
    with pytest.raises(SystemExit):
        main(["steps", "-o", str(file), "--folder", str(tmp_path)])
    assert "was measured with {'images': 5" in capsys.readouterr().err
    assert file.read_text() == before
