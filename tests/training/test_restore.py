"""Training continues from the shipped model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn

import instantstyle
from instantstyle.metrics import SyntheticClassifier, load_classifier
from instantstyle.synthetic import THINGS
from training.mini import frozen_models, restore, settings
from training.mini.checkpoint import write_checkpoint
from training.mini.clip import ClipModels
from training.mini.discriminator import LatentDiscriminator
from training.mini.export import build_pipeline, export_heads
from training.mini.frozen_models import FrozenClip
from training.mini.restore import extend_weights, load_float32, load_shipped_weights
from training.mini.settings import CPU, UNET
from training.mini.stage import Run, load_state
from training.mini.stages import build_stage

from ..helpers import seeded_generator

pytestmark = pytest.mark.slow

PACKAGE = Path("src/instantstyle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The restored states."""
    folder = tmp_path_factory.mktemp("restored")
    restore.main(["--folder", str(folder), "--states", str(folder)])
    return folder


@pytest.fixture(autouse=True)
def _few_statistics_images(monkeypatch) -> None:
    """The statistics of latents are estimated from few images; no test depends on them."""
    monkeypatch.setattr(frozen_models, "STATISTICS_IMAGES", 16)


@pytest.mark.parametrize("name", ["vae", "clip", "vision", "text", "unet", "adapter", "controlnet", "classifier"])
def test_a_restored_stage_has_the_published_counts(folder, name):
    run = Run(build_stage(name, folder), folder, CPU[name])
    assert run.images > 0
    assert run.steps == 0


def test_networks_of_another_architecture_are_not_restored(tmp_path, monkeypatch, capsys):
    widths = settings.VAE["block_out_channels"]
    monkeypatch.setitem(settings.VAE, "block_out_channels", (8,) * len(widths))
    restore.main(["--folder", str(tmp_path), "--states", str(tmp_path)])
    assert {file.stem for file in tmp_path.iterdir()} == {"clip", "vision", "text", "classifier"}
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["vae", "unet", "adapter", "controlnet"]


def test_a_stage_that_was_trained_further_goes_on_from_its_state(tmp_path):
    weights = load_shipped_weights(PACKAGE)["classifier"]
    state = {"averaged": {name: weight + 1 for name, weight in weights.items()}}
    leg = {"machine": "2 CPU cores", "images": 7, "minutes": 1.0, "lr": 0.001}
    file = tmp_path / "states" / "classifier.safetensors"
    write_checkpoint(state, {"classifier": [leg]}, file, eight_bits=False)
    restore.main(["--folder", str(tmp_path), "--states", str(file.parent)])
    restored = load_state(tmp_path / "classifier.pt")
    assert restored["images"] == 7
    name = min(weights)
    assert restored["averaged"][name].equal((weights[name] + 1).half().float())


def test_adversarial_stages_go_on_from_the_shipped_networks():
    weights = load_shipped_weights(PACKAGE)
    adversarial = nn.ModuleDict({"unet": UNet2DConditionModel(**UNET), "discriminator": LatentDiscriminator()})
    adversarial.load_state_dict(weights["adversarial"])
    bias = adversarial.get_parameter("unet.conv_out.bias")
    assert bias.equal(weights["unet"]["unet.conv_out.bias"])
    adapter = {
        name.removeprefix("adapter."): weight
        for name, weight in weights["adversarial-adapter"].items()
        if name.startswith("adapter.")
    }
    assert adapter.keys() == weights["adapter"].keys()


def test_only_stages_with_published_counts_are_restored(folder):
    trained = json.loads((Path(restore.__file__).parent / "results/training.json").read_text())
    assert {file.stem for file in folder.iterdir()} <= trained.keys()


def test_known_words_and_classes_keep_their_weights_when_the_dataset_has_grown(folder):
    """The restored text encoder equals the shipped one, whatever tokens its vocabulary has gained."""
    texts = ["a rocket", "two cacti, flat with bold outline, red on plain teal"]
    states, _ = FrozenClip(folder).encode_text(texts)
    pipe: Any = instantstyle.load("mini").pipe
    shipped_states, *_ = pipe.encode_prompt(texts, do_classifier_free_guidance=False)
    assert torch.allclose(shipped_states.float(), states, atol=1e-2)


def test_a_grown_classifier_reads_what_the_shipped_one_reads():
    """It has more classes, and levels for fine textures that at first add nothing."""
    grown = SyntheticClassifier()
    grown.load_state_dict(extend_weights(load_float32(PACKAGE / "metrics/classifier.safetensors"), grown))
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    found, shipped = grown(images), load_classifier()(images)
    for name, logits in shipped.logits.items():
        assert torch.allclose(found.logits[name][:, : logits.shape[1]], logits, atol=1e-4), name
    assert found.logits["thing"].shape == (2, len(THINGS))


def test_smaller_patches_give_plain_areas_the_same_features(monkeypatch):
    """And four of them have in the mean the position of the patch that they divide."""
    images = torch.rand(2, 3, 1, 1, generator=seeded_generator(0)).expand(-1, -1, 128, 128)
    coarse = ClipModels().vision
    monkeypatch.setitem(settings.IMAGE_ENCODER, "patch_size", settings.IMAGE_ENCODER["patch_size"] // 2)
    fine = ClipModels().vision
    fine.load_state_dict(restore.resize_patches(coarse.state_dict(), fine))
    before, after = (each.vision_model.embeddings for each in (coarse, fine))
    assert torch.allclose(before.patch_embedding(images)[..., :1, :1], after.patch_embedding(images), atol=1e-4)
    positions = [each.position_embedding.weight for each in (before, after)]
    assert positions[0][0].equal(positions[1][0])
    smoothest = positions[1][1:, 0].view(16, 2, 16, 2).mean((1, 3))[1:-1, 1:-1]
    assert torch.allclose(smoothest, positions[0][1:, 0].view(16, 16)[1:-1, 1:-1], atol=0.02)
    assert restore.resize_patches(weights := fine.state_dict(), fine) is weights


def test_the_heads_of_the_encoders_are_restored_from_where_export_wrote_them(tmp_path, monkeypatch):
    trained, file = ClipModels(), tmp_path / "heads.safetensors"
    monkeypatch.setattr(restore, "HEADS", file)
    new = restore.load_encoders(PACKAGE / "models/mini")
    weights = trained.state_dict()
    torch.save({"averaged": weights}, tmp_path / "vision.pt")
    export_heads(tmp_path, file)
    restored = restore.load_encoders(PACKAGE / "models/mini")
    for name, weight in restored.state_dict().items():
        is_encoder = name.startswith(("vision.", "text_1.text_model.", "text_2."))
        expected = new.state_dict()[name] if is_encoder else weights[name].half().float()
        assert weight.equal(expected), name
    assert file.stat().st_size < 200_000


def test_the_restored_unet_is_the_shipped_one(folder):
    shipped = load_file(PACKAGE / "models/mini/unet/diffusion_pytorch_model.safetensors")
    restored = build_pipeline(folder).unet.state_dict()
    assert restored.keys() == shipped.keys()
    assert all(restored[name].equal(weight.float()) for name, weight in shipped.items())
