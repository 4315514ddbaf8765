"""The full autoencoder takes over what fits of the small one, and its latents."""

import pytest
import torch

from training.mini.settings import CPU, FINER, PICTURE, SEEN
from training.mini.stage import Run
from training.mini.vae import VaeFullStage, VaeStage, fitting, psnr

from ..helpers import dice

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    """One in which `vae` has been begun."""
    torch.manual_seed(0)
    Run(VaeStage(), tmp_path, CPU["vae"]).save()
    return tmp_path


def test_it_reads_latents_of_the_same_shape_from_larger_pictures(folder):
    small, full = VaeStage().module, VaeFullStage(folder).module
    pictures = torch.rand(1, 3, PICTURE, PICTURE, generator=dice(0))
    with torch.no_grad():
        ours = full.encode(pictures).latent_dist.mean
        theirs = small.encode(pictures[..., ::FINER, ::FINER]).latent_dist.mean
        assert ours.shape == theirs.shape
        assert full.decode(ours).sample.shape == pictures.shape
    assert SEEN * FINER == PICTURE


def test_its_decoder_begins_with_all_of_the_small_ones_but_the_last_steps(folder):
    small, full = VaeStage(), VaeFullStage(folder)
    taken = fitting(small.module.state_dict(), full.module)
    kept = {name for name in small.module.state_dict() if name.startswith("decoder.up_blocks")}
    assert kept <= taken.keys()
    assert "encoder.down_blocks.2.resnets.0.conv1.weight" in taken  # the small one's down_blocks.1
    assert not {"encoder.conv_in.weight", "decoder.conv_out.weight"} & taken.keys()


def test_its_latents_draw_near_to_the_small_ones(folder):
    stage, missed = VaeFullStage(folder), []
    descent = torch.optim.Adam(stage.parameters(), lr=2e-3)
    for _ in range(12):
        loss, parts = stage.loss(2, dice(5), 0.0)
        descent.zero_grad()
        loss.backward()
        descent.step()
        missed.append(parts["astray"].item())
    assert missed[-1] < 0.8 * missed[0]


def test_without_a_small_one_it_finds_its_own(tmp_path):
    """Then what is drawn wrong teaches the encoder too; else only what it should have found does."""
    stage = VaeFullStage(tmp_path)
    loss, parts = stage.loss(2, dice(0), 0.0)
    (loss - parts["astray"]).backward()
    assert stage.module.encoder.conv_in.weight.grad.abs().max() > 0


def test_psnr_is_in_decibels_of_the_whole_range():
    pictures = torch.zeros(1, 3, 4, 4)
    assert psnr(pictures + 0.2, pictures).item() == pytest.approx(20, abs=1e-3)
