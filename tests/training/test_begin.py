"""Training goes on from the model that ships."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from training.mini import begin
from training.mini.export import pipeline
from training.mini.settings import CPU
from training.mini.stage import Run
from training.mini.stages import build

pytestmark = pytest.mark.slow

PACKAGE = Path("src/instantstyle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    begin.main(["--folder", str(folder)])
    return folder


@pytest.mark.parametrize("name", ["vae-full", "clip", "vision", "unet", "adapter", "judge"])
def test_a_stage_goes_on_with_the_counts_that_were_published(folder, name):
    run = Run(build(name, folder), folder, CPU[name])
    assert run.images > 0
    assert run.steps == 0


def test_the_drawing_network_is_the_one_that_ships(folder):
    shipped = load_file(PACKAGE / "models/mini/unet/diffusion_pytorch_model.safetensors")
    begun = pipeline(folder).unet.state_dict()
    assert begun.keys() == shipped.keys()
    assert all(begun[name].equal(weight.float()) for name, weight in shipped.items())
