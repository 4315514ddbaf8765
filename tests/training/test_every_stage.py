"""From nothing to a picture: every stage at tiny size for two steps, the export, and `instantstyle.load`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import instantstyle
from instantstyle.metrics import SyntheticClassifier
from instantstyle.synthetic import MINI_SCOPE, as_image, sample_scenes
from training.mini import frozen, gallery, settings
from training.mini.__main__ import main
from training.mini.export import export, export_judge, pipeline
from training.mini.frozen import Clip, Latents, where_kept
from training.mini.needed import PARTS, loss, needed
from training.mini.stages import STAGES
from training.mini.unet import UnetStage
from training.mini.vae import with_statistics

from ..helpers import dice

TINY = {
    "VAE": {"block_out_channels": (8, 8, 16)},
    "TOWER_1": {"intermediate_size": 16, "num_hidden_layers": 2},
    "TOWER_2": {"intermediate_size": 16, "num_hidden_layers": 2},
    "VISION": {"hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2},
    "UNET": {"block_out_channels": (16, 32, 32), "attention_head_dim": (1, 2, 2)},
}

pytestmark = pytest.mark.slow


@contextmanager
def tiny() -> Iterator[None]:
    """A block in which every network is built at tiny size, and few pictures are hung and measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "BATCHES", 4)
        patch.setattr(frozen, "MEASURED", 16)
        for name, sizes in TINY.items():
            for size, value in sizes.items():
                patch.setitem(getattr(settings, name), size, value)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """The states of all stages, one started from the other."""
    folder = tmp_path_factory.mktemp("stages")
    with tiny():
        main(["--steps", "2", "--batch", "4", "--folder", str(folder)])
        yield folder


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("model")
    export(folder, target)
    return target


@pytest.fixture
def pictures() -> torch.Tensor:
    return sample_scenes(4, dice(0), MINI_SCOPE).pictures(settings.PICTURE)


def test_every_stage_has_made_its_steps_and_counted_its_pictures(folder):
    for name in STAGES:
        state = torch.load(folder / f"{name}.pt", weights_only=True)
        assert (state["steps"], state["images"]) == (2, 8)


def test_the_exported_folder_draws_a_picture_in_a_style(model, pictures):
    styled = instantstyle.load(model)
    styled.pipe.set_progress_bar_config(disable=True)
    reference = as_image(pictures[0])
    plain, all_blocks, style_blocks, removed = (
        styled("a rocket", seed=1, num_inference_steps=2, **ways).images[0]
        for ways in (
            {},
            dict(style=reference, blocks="all"),
            dict(style=reference, blocks="style"),
            dict(style=reference, blocks="style", content="a cat"),
        )
    )
    assert plain.size == (settings.PICTURE,) * 2
    drawn = {picture.tobytes() for picture in (plain, all_blocks, style_blocks, removed)}
    assert len(drawn) == 4
    assert len(plain.getcolors(plain.width * plain.height)) > 1


def test_what_ships_is_half_precision_and_whole(model):
    adapter = load_file(model / "ip-adapter_mini.safetensors")
    assert {weight.dtype for weight in adapter.values()} == {torch.float16}
    assert (model / "image_encoder" / "config.json").is_file()


def test_the_exported_judge_is_one(folder, tmp_path):
    export_judge(folder, tmp_path / "judge.safetensors")
    weights = load_file(tmp_path / "judge.safetensors")
    SyntheticClassifier().load_state_dict({name: weight.float() for name, weight in weights.items()})


def test_the_latents_mean_and_spread_are_worked_into_the_autoencoder_that_ships(folder, pictures):
    latents = Latents(folder)
    encoded = latents.encode(pictures)
    decoded = latents.decode(encoded)
    vae = with_statistics(latents.vae, latents.mean.flatten(), latents.std.flatten())
    with torch.no_grad():
        assert torch.allclose(vae.encode(pictures * 2 - 1).latent_dist.mode(), encoded, atol=1e-3)
        shipped = (vae.decode(encoded).sample / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(shipped, decoded, atol=1e-4)


def test_the_shipped_pipeline_reads_words_as_in_training(folder):
    words = ["a rocket", "two cacti, flat with shadow, red on plain teal"]
    states, pooled = Clip(folder).text(words)
    read, _, read_pooled, _ = pipeline(folder).encode_prompt(words, do_classifier_free_guidance=False)
    assert torch.allclose(read, states, atol=1e-5)
    assert torch.allclose(read_pooled, pooled, atol=1e-5)


def test_words_that_are_dropped_are_zeros_as_a_missing_negative_prompt_is(folder):
    words = Clip(folder).text(["a rocket", "a cat"])
    states, pooled = where_kept(words, torch.tensor([True, False]))
    assert states[0].any()
    assert not states[1].any()
    assert not pooled[1].any()
    _, negative, _, negative_pooled = pipeline(folder).encode_prompt("a cat")
    assert not negative.any()
    assert not negative_pooled.any()


def test_each_part_is_left_out_alone_and_put_back(folder):
    stage = UnetStage(folder)
    whole = loss(stage, 4, seed=0)
    found = needed(stage, 4, seed=0)
    assert found.keys() == {*PARTS}
    assert loss(stage, 4, seed=0) == whole
    for name in ("mid_block.resnets.0.conv2", "mid_block.resnets.1.conv2"):
        torch.nn.init.normal_(stage.module.get_parameter(f"{name}.weight"))
    assert loss(stage, 4, seed=0) != whole
    again = needed(stage, 4, seed=0)
    assert again["mid_block"]["both"] == found["mid_block"]["both"]
