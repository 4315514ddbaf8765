"""Conversion of adapter files of any layout to .safetensors files with the standard names, bit for bit."""

import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from instantstyle import CheckpointError, JobError
from instantstyle.loaders.convert import convert
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.unet.architectures import SDXL

from ..conftest import base_projection
from .test_ip_adapter_checkpoint import by_path, flat


@pytest.fixture
def dump(tmp_path, state):
    path = tmp_path / "dump.bin"
    tensors = {f"image_proj_model.{name}": tensor.half() for name, tensor in state["image_proj"].items()}
    tensors |= {f"adapter_modules.{name}": tensor.bfloat16() for name, tensor in state["ip_adapter"].items()}
    torch.save(tensors, path)
    return path


def test_a_dump_is_converted_to_standard_names_and_keeps_its_dtypes(tmp_path, dump, state, layers):
    convert(dump, tmp_path / "out.safetensors")
    written = load_file(tmp_path / "out.safetensors")
    assert written.keys() == flat(state).keys()
    for name, tensor in flat(state).items():
        dtype = torch.half if name.startswith("image_proj") else torch.bfloat16
        assert written[name].equal(tensor.to(dtype))
    IPAdapterCheckpoint.open(tmp_path / "out.safetensors").validate_layers(layers)


def test_the_header_describes_the_adapter(tmp_path, dump):
    convert(dump, tmp_path / "out.safetensors")
    with safe_open(tmp_path / "out.safetensors", framework="pt") as file:
        assert file.metadata() == {
            "format": "pt",
            "kind": "base",
            "tokens": "4",
            "cross_dim": "32",
            "embedding_dim": "24",
            "base": "unknown",
        }


def test_an_existing_file_is_overwritten_only_with_force(tmp_path, dump):
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"precious")
    with pytest.raises(JobError, match=r"exists already.*--force"):
        convert(dump, out)
    assert out.read_bytes() == b"precious"
    convert(dump, out, force=True)
    assert IPAdapterCheckpoint.open(out).projection_type == "base"


def test_a_file_can_be_converted_in_place(tmp_path, state):
    path = tmp_path / "a.safetensors"
    save_file(flat(state), path)
    convert(path, path, force=True)
    assert load_file(path).keys() == flat(state).keys()


@pytest.mark.parametrize("broken", ["incomplete layer", "unexpected tensor", "no adapter"])
def test_an_incomplete_adapter_is_rejected_and_nothing_is_written(tmp_path, state, broken):
    tensors = dict(state["ip_adapter"])
    if broken == "incomplete layer":
        del tensors["3.to_v_ip.weight"]
    if broken == "unexpected tensor":
        tensors["3.to_k_ip.bias"] = torch.zeros(1)
    if broken == "no adapter":
        tensors = {}
    torch.save({**state, "ip_adapter": tensors}, tmp_path / "a.bin")
    with pytest.raises(CheckpointError, match=r"3\.to_._ip|no ip_adapter"):
        convert(tmp_path / "a.bin", tmp_path / "out.safetensors")
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_destination_with_another_suffix_is_rejected(tmp_path, dump):
    with pytest.raises(JobError, match=r"must end in \.safetensors"):
        convert(dump, tmp_path / "out.bin")


def test_module_paths_of_a_known_network_are_numbered(tmp_path):
    tensors = {
        f"unet.{path}.processor.to_{x}_ip.weight": torch.full((width, 1), float(position)).expand(width, 2048)
        for position, (path, width) in enumerate(SDXL.layers.items())
        for x in "kv"
    }
    file = IPAdapterCheckpoint.open(flat({"image_proj": base_projection(cross_dim=2048)}) | tensors)
    assert file.architecture is SDXL
    assert file.read_layer(69)[0][0, 0] == 34


def test_module_paths_of_an_unknown_network_are_rejected(tmp_path, state, layers):
    torch.save(flat({"image_proj": state["image_proj"]}) | by_path(layers, state), tmp_path / "a.bin")
    with pytest.raises(CheckpointError, match="by module path"):
        convert(tmp_path / "a.bin", tmp_path / "out.safetensors")
