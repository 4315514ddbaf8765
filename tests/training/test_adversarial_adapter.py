"""The adversarial stage of the adapter trains adapter and discriminator, and what it trains is exported."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training.mini.adapter import to_standard_state_dict
from training.mini.adversarial_adapter import AdversarialAdapterStage
from training.mini.export import load_latest_adapter
from training.mini.settings import CPU
from training.mini.stage import Run
from training.mini.unet import ADVERSARIAL_SHARE

from ..helpers import seeded_generator
from .test_every_stage import untrained_states

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """A folder with untrained states of the earlier stages."""
    with untrained_states(
        tmp_path_factory.mktemp("before"), "vae", "clip", "unet", "guide", "adversarial", "adapter"
    ) as folder:
        yield folder


def test_it_trains_adapter_and_discriminator_and_no_other_network(folder):
    stage = AdversarialAdapterStage(folder)
    stage.loss(8, seeded_generator(2), 0.0)[0].backward()
    assert all(weight.grad is not None for weight in stage.module.parameters())
    unet = stage.before.unet.module.unet
    adapter = {id(weight) for weight in stage.module["adapter"].parameters()}
    assert all(weight.grad is None for weight in unet.parameters() if id(weight) not in adapter)
    assert all(weight.grad is None for weight in stage.losses.guide.parameters())


def test_the_mean_with_its_adapter_is_exported(folder):
    run = Run(AdversarialAdapterStage(folder), folder, CPU["adversarial-adapter"])
    before = to_standard_state_dict(load_latest_adapter(folder))
    with torch.no_grad():
        for weight in run.averaged["adapter"].parameters():
            weight.add_(1)
    try:
        run.save()
        after = to_standard_state_dict(load_latest_adapter(folder))
    finally:
        run.file.unlink()
    assert all(torch.allclose(after[name], weight + ADVERSARIAL_SHARE) for name, weight in before.items())
