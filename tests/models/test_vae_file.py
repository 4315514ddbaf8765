"""A VAE from a file takes the place of the pipeline's own; one that does not fit is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

import instantstyle
from instantstyle import ModelError
from instantstyle.loaders.weight_files import describe_weights
from instantstyle.models.vae import replace_vae
from instantstyle.recipe_types import Reference


def _describe(path: Path) -> Reference:
    return describe_weights("vae", Reference(name=str(path)))


def _make_vae(**changes: Any) -> Any:
    torch.manual_seed(5)
    sizes = {"block_out_channels": (4, 8), "norm_num_groups": 4, "latent_channels": 4, "sample_size": 16}
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    settings: dict[str, Any] = {**sizes, **blocks, **changes}
    return AutoencoderKL(**settings)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_the_pipeline_decodes_with_the_vae_of_the_file(pipe, tmp_path, kind):
    vae = _make_vae(scaling_factor=0.5).eval()
    vae.save_pretrained(tmp_path / "folder")
    save_file(vae.state_dict(), tmp_path / "file")
    (tmp_path / "file").rename(tmp_path / "vae.safetensors")
    path = tmp_path / ("folder" if kind == "folder" else "vae.safetensors")
    replace_vae(pipe, _describe(path))
    latents = torch.randn(1, 4, 8, 8)
    assert torch.equal(pipe.vae.decode(latents).sample, vae.decode(latents).sample)
    # A file has no settings of its own.
    assert pipe.vae.config.scaling_factor == (0.5 if kind == "folder" else 0.18215)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent_channels": 8}, "has latents of 8 channels and 2 px, and this model's have 4 and 2 px"),
        (
            {"block_out_channels": (8, 8)},
            r"no VAE of this model: \d+ missing tensors, such as encoder\S+; .* of another shape, .* is 8.* and not 4",
        ),
    ],
)
def test_a_vae_that_does_not_fit_is_refused_in_one_line(pipe, tmp_path, changes, message):
    vae, own = _make_vae(**changes), pipe.vae
    if "latent_channels" in changes:
        vae.save_pretrained(tmp_path)
        path = tmp_path
    else:
        path = tmp_path / "vae.safetensors"
        save_file(vae.state_dict(), path)
    with pytest.raises(ModelError, match=message) as error:
        replace_vae(pipe, _describe(path))
    assert "\n" not in str(error.value)
    assert pipe.vae is own


@pytest.mark.parametrize("name", ["nothing.safetensors", "nothing", "no/thing/here"])
def test_a_missing_vae_is_refused(tmp_path, name):
    with pytest.raises(ModelError, match="There is no VAE"):
        _describe(tmp_path / name)


@pytest.mark.parametrize("plain", [False, True])
def test_a_vae_with_latents_of_other_channels_is_refused_before_the_model_is_loaded(
    folder, tmp_path, monkeypatch, plain
):
    def refuse(*_: object) -> None:
        raise AssertionError("The model is loaded.")

    monkeypatch.setattr(sys.modules["instantstyle.models.load"], "load_pipeline", refuse)
    path = tmp_path / "vae.safetensors"
    for prefix in ("", "first_stage_model."):
        names = ("decoder.conv_in.weight", "encoder.down.0.a", "decoder.a")
        save_file({f"{prefix}{name}": torch.zeros(8, 16, 1, 1) for name in names}, path)
        message = rf"^{path} has latents of 16 channels, and those of {folder} have 4; use a VAE for this base\.$"
        with pytest.raises(ModelError, match=message):
            instantstyle.load(folder, vae=path, plain=plain)
