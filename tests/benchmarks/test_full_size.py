"""The benchmark with every width divided by 16: all of SDXL's blocks and layers, end to end."""

import json
from typing import Any

import pytest
import torch

from benchmarks import full_size
from benchmarks.full_size import is_equal, main
from benchmarks.sdxl import SDXL_UNET, create_meta_unet, embedding_dim
from instantstyle.core.adapter_layers import cross_attention_layers
from instantstyle.unet.architectures import SDXL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[int, dict[str, Any]]:
    """Exit code and report of one tiny run."""
    path = tmp_path_factory.mktemp("benchmark") / "full_size.json"
    code = main(["--tiny", "--side", "8", "--rounds", "1", "-o", str(path)])
    return code, json.loads(path.read_text())


@pytest.fixture(scope="module")
def results(run) -> dict[str, Any]:
    return run[1]["results"]


def test_a_tiny_run_exits_with_zero(run):
    assert run[0] == 0


def test_the_report_names_command_and_machine(run):
    assert set(run[1]) == {"question", "settings", "results"}
    settings = run[1]["settings"]
    assert settings["command"].startswith("python -m benchmarks.full_size --tiny --side 8 --rounds 1")
    assert settings["machine"]
    assert {"dtype", "torch", "diffusers", "tiny", "side", "seed", "rounds"} <= set(settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="in half precision on CUDA there is no tolerance")
@pytest.mark.parametrize("blocks", ["style", "all"])
def test_the_package_equals_diffusers_and_the_style_has_an_effect(results, blocks):
    comparison = results["blocks"][blocks]
    assert comparison["equal"]
    assert comparison["max_relative_error"] <= 1e-4
    assert comparison["style_effect"] > 1e-3


def test_each_arm_has_its_time_and_memory(results):
    arms = results["arms"]
    assert list(arms) == ["plain", "ours style", "ours all", "diffusers style", "diffusers all"]
    assert all(arm["seconds"] > 0 and arm["peak_bytes"] > 0 for arm in arms.values())


@pytest.mark.parametrize("blocks", ["style", "all"])
def test_times_are_compared_with_both_baselines(results, blocks):
    assert results["blocks"][blocks]["time_ours_to_plain"] > 0
    assert results["blocks"][blocks]["time_ours_to_diffusers"] > 0


def test_style_reads_fewer_bytes_than_all_and_all_no_more_than_the_file(results):
    read = {name: arm["bytes_read"] for name, arm in results["arms"].items() if name != "plain"}
    assert read["ours style"] < read["ours all"] / 4
    assert read["ours all"] == read["diffusers all"] == results["adapter_file_bytes"]


def test_the_unet_keeps_keys_and_values_only(results):
    # 10 layers, keys and values, two halves, 4 tokens, 80 wide, 4 bytes.
    assert results["arms"]["ours style"]["network_bytes"] == 10 * 2 * 2 * 4 * 80 * 4
    assert results["arms"]["diffusers style"]["network_bytes"] > results["arms"]["ours all"]["network_bytes"]


def test_the_full_size_is_that_of_sdxl():
    unet = create_meta_unet(SDXL_UNET)
    assert [layer.width for layer in cross_attention_layers(unet)] == list(SDXL.layers.values())
    assert embedding_dim(unet) == 1280
    # 10.3 GB in float32.
    assert sum(weight.numel() for weight in unet.parameters()) == 2_567_463_684


def test_a_style_without_an_effect_is_not_equal():
    assert is_equal({"max_relative_error": 1e-6, "style_effect": 0.1}, 1e-4) is True
    assert is_equal({"max_relative_error": 1e-3, "style_effect": 0.1}, 1e-4) is False
    assert is_equal({"max_relative_error": 0.0, "style_effect": 0.0}, 1e-4) is False


@pytest.mark.skipif(torch.cuda.is_available(), reason="in half precision on CUDA there is no tolerance")
def test_different_paths_exit_with_one(monkeypatch, capsys):
    monkeypatch.setitem(full_size.SCALES, "all", 0.99)
    assert main(["--tiny", "--side", "8", "--rounds", "1"]) == 1
    blocks = json.loads(capsys.readouterr().out)["results"]["blocks"]
    assert blocks["style"]["equal"]
    assert not blocks["all"]["equal"]
