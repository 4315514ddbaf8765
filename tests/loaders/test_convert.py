"""Any adapter file becomes one .safetensors file in the standard names, bit for bit."""

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


def test_a_dump_becomes_standard_with_dtypes_kept(tmp_path, dump, state, layers):
    convert(dump, tmp_path / "out.safetensors")
    written = load_file(tmp_path / "out.safetensors")
    assert written.keys() == flat(state).keys()
    for name, tensor in flat(state).items():
        dtype = torch.half if name.startswith("image_proj") else torch.bfloat16
        assert written[name].equal(tensor.to(dtype))
    IPAdapterCheckpoint.open(tmp_path / "out.safetensors").check(layers)


def test_the_file_says_what_it_is(tmp_path, dump):
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


def test_nothing_is_overwritten_unless_forced(tmp_path, dump):
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"precious")
    with pytest.raises(JobError, match=r"exists already.*--force"):
        convert(dump, out)
    assert out.read_bytes() == b"precious"
    convert(dump, out, force=True)
    assert IPAdapterCheckpoint.open(out).kind == "base"


def test_a_file_can_be_converted_onto_itself(tmp_path, state):
    path = tmp_path / "a.safetensors"
    save_file(flat(state), path)
    convert(path, path, force=True)
    assert load_file(path).keys() == flat(state).keys()


@pytest.mark.parametrize("broken", ["half a layer", "a strange tensor", "no adapter"])
def test_what_is_no_whole_adapter_is_refused_and_nothing_written(tmp_path, state, broken):
    tensors = dict(state["ip_adapter"])
    if broken == "half a layer":
        del tensors["3.to_v_ip.weight"]
    if broken == "a strange tensor":
        tensors["3.to_k_ip.bias"] = torch.zeros(1)
    if broken == "no adapter":
        tensors = {}
    torch.save({**state, "ip_adapter": tensors}, tmp_path / "a.bin")
    with pytest.raises(CheckpointError, match=r"3\.to_._ip|no ip_adapter"):
        convert(tmp_path / "a.bin", tmp_path / "out.safetensors")
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_name_that_does_not_say_the_format_is_refused(tmp_path, dump):
    with pytest.raises(JobError, match=r"should end in \.safetensors"):
        convert(dump, tmp_path / "out.bin")


def test_module_paths_are_numbered_where_the_network_is_known(tmp_path):
    tensors = {
        f"unet.{path}.processor.to_{x}_ip.weight": torch.full((width, 1), float(place)).expand(width, 2048)
        for place, (path, width) in enumerate(SDXL.layers.items())
        for x in "kv"
    }
    file = IPAdapterCheckpoint.open(flat({"image_proj": base_projection(cross_dim=2048)}) | tensors)
    assert file.base is SDXL
    assert file.read_layer(69)[0][0, 0] == 34


def test_module_paths_of_an_unknown_network_are_refused(tmp_path, state, layers):
    torch.save(flat({"image_proj": state["image_proj"]}) | by_path(layers, state), tmp_path / "a.bin")
    with pytest.raises(CheckpointError, match="by module path"):
        convert(tmp_path / "a.bin", tmp_path / "out.safetensors")
