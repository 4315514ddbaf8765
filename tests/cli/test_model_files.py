"""The verbs about files: models, doctor, convert, and generate --plan; without network access."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from instantstyle.models import CARDS


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def copy(model, tmp_path):
    """A copy of the small model that a test may damage."""
    return shutil.copytree(model, tmp_path / "copy")


def test_models_are_tab_separated_in_a_pipe(run):
    head, *rows = [line.split("\t") for line in run("models").out.splitlines()]
    assert head == ["name", "here", "size", "licence", "what it is"]
    assert [row[0] for row in rows] == list(CARDS)
    sdxl = dict(zip(head, rows[1], strict=True))
    assert (sdxl["here"], sdxl["size"]) == ("no", "11 GB")
    assert "RAIL" in sdxl["licence"]


def test_models_are_a_table_on_a_terminal(run, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    out = run("models").out
    assert "sdxl-turbo" in out
    assert "\t" not in out


def test_the_doctor_reports_a_complete_model(run, model):
    done = run("doctor", model)
    assert (done.code, done.err) == (0, "")
    assert "files are here" in done.out


def test_the_doctor_prints_missing_files_with_their_location_and_command(run, tmp_path):
    done = run("doctor", "sdxl-vit-h")
    assert done.code == 1
    assert f"looked in {tmp_path / 'hub'} (offline: HF_HUB_OFFLINE is set)" in done.out
    assert "missing: models/image_encoder/model.safetensors of h94/IP-Adapter" in done.out
    assert "to get: hf download h94/IP-Adapter sdxl_models/ip-adapter_sdxl_vit-h.safetensors" in done.out
    assert "only for --content: model.safetensors of laion/CLIP-ViT-H-14-laion2B-s32B-b79K" in done.out


def test_the_doctor_prints_missing_and_broken_files_of_a_folder(run, copy):
    (copy / "unet" / "config.json").unlink()
    (copy / "image_encoder" / "model.safetensors").write_bytes(b"half")
    done = run("doctor", copy)
    assert done.code == 1
    assert "missing: unet/config.json\n" in done.out
    assert "broken:" in done.out
    assert "image_encoder/model.safetensors is not a complete" in done.out


def test_the_doctor_identifies_the_files_of_a_folder(run, model):
    lines = run("doctor", "--look", model).out.splitlines()
    [line] = [line for line in lines if "ip-adapter_small.safetensors" in line]
    assert "IP-Adapter (base, 4 tokens)" in line
    assert f"→ --adapter {model / 'ip-adapter_small.safetensors'}" in line


def test_a_folder_without_weights_is_said_to_have_none(run, tmp_path):
    assert run("doctor", "--look", tmp_path).out.startswith(f"{tmp_path}: no files of weights (.safetensors,")


def test_the_doctor_refuses_an_unknown_model(run):
    done = run("doctor", "sdlx")
    assert done.code == 2
    assert "Did you mean sdxl?" in done.err


def test_convert_writes_a_file_and_prints_its_name(run, state, tmp_path):
    dump = {f"image_proj_model.{name}": tensor.half() for name, tensor in state["image_proj"].items()}
    dump |= {f"adapter_modules.{name}": tensor.half() for name, tensor in state["ip_adapter"].items()}
    torch.save(dump, tmp_path / "in.bin")
    done = run("convert", "in.bin", "out.safetensors")
    assert (done.code, done.out) == (0, "out.safetensors\n")
    assert "kind base, tokens 4" in done.err
    assert {tensor.dtype for tensor in load_file(tmp_path / "out.safetensors").values()} == {torch.half}
    again = run("convert", "in.bin", "out.safetensors")
    assert again.code == 2
    assert "--force" in again.err
    assert run("convert", "in.bin", "out.safetensors", "--force").code == 0


def test_a_plan_loads_and_generates_nothing(run, model, reference, tmp_path, monkeypatch):
    reference.save(tmp_path / "ink.png")
    monkeypatch.setattr("instantstyle.models.load", None)
    done = run("generate", "a rocket", "--style", "ink.png", "--model", model, "--device", "cpu", "--plan")
    assert (done.code, done.err) == (0, "")
    assert "device cpu, dtype float32" in done.out
    assert f"unet: {model / 'unet' / 'diffusion_pytorch_model.safetensors'}" in done.out
    assert "blocks: up_blocks.0.attentions.1" in done.out
    assert "memory:" in done.out
    assert os.listdir(tmp_path) == ["ink.png"]
    every = run(
        "generate", "a", "--style", "ink.png", "--model", model, "--device", "cpu", "--blocks", "all", "--plan"
    )
    assert "blocks: down_blocks.1.attentions.0–1, down_blocks.2" in every.out


def test_a_plan_names_missing_files(run, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    words = ("generate", "a rocket", "--model", "sdxl", "--device", "cpu", "--plan")
    assert "blocks: none" in run(*words).out
    assert "blocks: down_blocks.2.attentions.1\n" in run(*words, "--layout", "ink.png").out
    done = run(*words, "--style", "ink.png")
    assert done.code == 0
    assert "unet: MISSING" in done.out
    assert "`instantstyle doctor sdxl`" in done.out
    assert "adapter tensors: 20 (ip_adapter.69.to_k_ip.weight … ip_adapter.87.to_v_ip.weight)" in done.out


def test_generating_without_the_files_is_refused_in_one_line(run, tmp_path):
    done = run("generate", "a rocket", "--model", "sd15", "--device", "cpu")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "hf download stable-diffusion-v1-5/stable-diffusion-v1-5" in done.err
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_machine_without_network_gets_one_line_at_once(tmp_path):
    """Without HF_HUB_OFFLINE: huggingface_hub would repeat each request for half a minute and log it."""
    words = ("generate", "a rocket", "--model", "sdxl", "--device", "cpu")
    settings = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    code = "from time import time; import torch, diffusers, transformers; from instantstyle.cli import main; "
    code += "import atexit; start = time(); atexit.register(lambda: print(time() - start)); main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env={**os.environ, **settings}
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "offline: http://127.0.0.1:9 does not answer" in done.stderr
    assert "hf download stabilityai/stable-diffusion-xl-base-1.0" in done.stderr
    assert float(done.stdout) < 10


def test_the_doctor_refuses_an_adapter_of_another_network(run, model, tmp_path):
    shapes = {f"ip_adapter.1.to_{letter}_ip.weight": torch.zeros(1).expand(320, 768) for letter in "kv"}
    projection = {"proj.weight": (3072, 1024), "proj.bias": (3072,), "norm.weight": (768,), "norm.bias": (768,)}
    shapes |= {f"image_proj.{name}": torch.zeros(1).expand(shape) for name, shape in projection.items()}
    torch.save(shapes, tmp_path / "sd15.bin")
    done = run("doctor", model, "--adapter", "sd15.bin")
    assert done.code == 1
    assert "broken: sd15.bin does not fit this network: it was trained for cross dim 768" in done.out
    plan = run("generate", "a rocket", "--model", model, "--adapter", "sd15.bin", "--device", "cpu", "--plan")
    assert (plan.code, plan.out) == (2, "")
    assert "trained for cross dim 768" in plan.err


def test_the_doctor_prints_json(run, model, copy):
    whole = json.loads(run("doctor", model, "--json").out)
    assert (whole["ready"], whole["missing"], whole["broken"]) == (True, [], [])
    assert whole["num_bytes"] == sum(file["num_bytes"] for file in whole["files"])
    (copy / "unet" / "config.json").unlink()
    done = run("doctor", copy, "--json")
    assert done.code == 1
    assert json.loads(done.out)["missing"] == ["unet/config.json"]
    assert json.loads(done.out)["to_get"] == [f"put them in {copy}"]


def test_the_doctor_prints_identified_files_as_json(run, model):
    found = {file["path"]: file for file in json.loads(run("doctor", "--look", model, "--json").out)}
    adapter = found[str(model / "ip-adapter_small.safetensors")]
    assert adapter["option"] == f"--adapter {model / 'ip-adapter_small.safetensors'}"
    assert found[str(model / "unet" / "diffusion_pytorch_model.safetensors")]["option"] is None
