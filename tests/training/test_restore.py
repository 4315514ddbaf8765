"""Training goes on from the model that ships."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import instantstyle
from instantstyle.metrics import SyntheticClassifier
from instantstyle.synthetic import THINGS
from training.mini import begin, frozen
from training.mini.begin import grown
from training.mini.export import pipeline
from training.mini.frozen import Clip
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


@pytest.fixture(autouse=True)
def few_measured(monkeypatch):
    """Latents are measured on few pictures; nothing here rests on how they are spread."""
    monkeypatch.setattr(frozen, "MEASURED", 16)


@pytest.mark.parametrize("name", ["vae-full", "clip", "vision", "text", "unet", "adapter", "judge"])
def test_a_stage_goes_on_with_the_counts_that_were_published(folder, name):
    run = Run(build(name, folder), folder, CPU[name])
    assert run.images > 0
    assert run.steps == 0


def test_only_stages_that_were_trained_are_gone_on_with(folder):
    """Of a stage without counts nobody knows how far it had come."""
    trained = json.loads((Path(begin.__file__).parent / "results/training.json").read_text())
    assert {file.stem for file in folder.iterdir()} <= trained.keys()


def test_words_and_kinds_that_were_known_are_known_in_a_world_that_has_grown(folder):
    """The shipped text encoder reads the same as the one begun, whatever pieces its vocabulary has gained."""
    words = ["a rocket", "two cacti, flat with bold outline, red on plain teal"]
    states, _ = Clip(folder).text(words)
    read, *_ = instantstyle.load("mini").pipe.encode_prompt(words, do_classifier_free_guidance=False)
    assert torch.allclose(read.float(), states, atol=1e-2)
    shipped = load_file(PACKAGE / "metrics/judge.safetensors")
    begun = grown({name: weight.float() for name, weight in shipped.items()}, SyntheticClassifier())
    for name, weight in shipped.items():
        assert begun[name][: len(weight)].equal(weight.float())
    assert len(begun["facts.thing.bias"]) == len(THINGS)


def test_the_drawing_network_is_the_one_that_ships(folder):
    shipped = load_file(PACKAGE / "models/mini/unet/diffusion_pytorch_model.safetensors")
    begun = pipeline(folder).unet.state_dict()
    assert begun.keys() == shipped.keys()
    assert all(begun[name].equal(weight.float()) for name, weight in shipped.items())
