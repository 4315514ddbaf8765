"""Files of a model's folder are read within bounds, and names in its indexes are of files in it."""

import json
import os
import time

import pytest
import torch

from instantstyle.errors import ModelError
from instantstyle.models.examine import examine_model
from instantstyle.models.identify import identify_files
from instantstyle.models.pipeline_files import PIPELINE_INDEX, list_pipeline_files, read_index
from instantstyle.models.required_files import list_damaged, list_required_files
from instantstyle.models.resolve import resolve_card

UNET_INDEX = "diffusion_pytorch_model.safetensors.index.json"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / PIPELINE_INDEX)
    assert read_index(tmp_path) == {}
    report = examine_model(str(tmp_path))
    assert PIPELINE_INDEX in [file.file for file in report.missing]
    assert not report.is_ready


def test_a_sparse_file_is_not_read_whole(folder):
    path = folder / "unet" / "config.json"
    with path.open("wb") as file:
        file.truncate(10**11)
    begin = time.process_time()
    damaged = list_damaged(list_required_files(resolve_card(str(folder))[0]))
    assert time.process_time() - begin < 5
    assert any("config.json has 100,000 MB" in fault for fault in damaged)


@pytest.mark.parametrize("name", ["../etc", "/etc", "a/../../etc", "..\\etc", "C:\\etc", ".."])
def test_a_name_of_a_component_outside_the_folder_is_broken(folder, name):
    index = read_index(folder)
    (folder / PIPELINE_INDEX).write_text(json.dumps(index | {name: ["diffusers", "AutoencoderKL"]}))
    assert {part for part, _ in list_pipeline_files(folder)} == {"pipeline", *_components(index)}
    assert any("outside its folder" in fault for fault in examine_model(str(folder)).faults)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "..\\passwd"])
def test_a_name_of_a_shard_outside_the_folder_is_broken(folder, name):
    (folder / "unet" / UNET_INDEX).write_text(json.dumps({"weight_map": {"a": name, "b": "b.safetensors"}}))
    report = examine_model(str(folder))
    assert [file.file for file in report.missing] == ["unet/b.safetensors"]
    assert any(UNET_INDEX in fault and "outside its folder" in fault for fault in report.faults)


@pytest.mark.parametrize("content", ["[]", '"text"', "{"])
def test_an_index_of_another_form_is_broken(tmp_path, content):
    (tmp_path / PIPELINE_INDEX).write_text(content)
    assert any(f"{PIPELINE_INDEX} is no index of a pipeline" in fault for fault in examine_model(str(tmp_path)).faults)


@pytest.mark.parametrize("kind", ["SanaPipeline", "A" * 100_000])
def test_a_pipeline_without_a_unet_is_broken_before_its_weights_are_there(tmp_path, kind):
    (tmp_path / PIPELINE_INDEX).write_text(json.dumps({"_class_name": kind}))
    (fault,) = [fault for fault in examine_model(str(tmp_path), "sdxl").faults if "without a UNet" in fault]
    assert kind[:12] in fault
    assert len(fault) < 400
    (tmp_path / PIPELINE_INDEX).write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    assert not [fault for fault in examine_model(str(tmp_path), "sdxl").faults if "without a UNet" in fault]


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_no_folder(name):
    with pytest.raises(ModelError, match="name is empty"):
        examine_model(name)


def test_messages_of_a_damaged_pickle_have_no_internals_of_python(tmp_path, monkeypatch):
    """A manipulated pickle can run any instruction, such as one that indexes a list by a name."""

    def load(*args: object, **options: object) -> None:
        raise TypeError("list indices must be integers or slices, not str")

    monkeypatch.setattr(torch, "load", load)
    (tmp_path / "a.bin").write_bytes(b"\x80\x02.")
    (found,) = identify_files(tmp_path)
    assert found.description == f"{tmp_path / 'a.bin'} is not a complete .bin file; download it again."


def _components(index):
    return {name for name, entry in index.items() if isinstance(entry, list) and all(entry)}
