"""The GPU benchmark with every width divided by 16, on any device."""

import json

import pytest
import torch

from benchmarks.gpu import ARMS, lower_bound_seconds, main, repeat_inputs
from benchmarks.sdxl import TINY_UNET, create_inputs, create_meta_unet, fill_unet


@pytest.mark.slow
def test_every_setting_has_every_arm(tmp_path):
    out = tmp_path / "gpu.json"
    options = ["--tiny", "--no-compile", "--pictures", "1", "2", "--steps", "2", "--rounds", "1"]
    main([*options, "-o", str(out)])
    settings = json.loads(out.read_text())["results"]["settings"]
    assert [(one["way"], one["pictures"]) for one in settings] == [("eager", 1), ("eager", 2)]
    for one in settings:
        assert tuple(one["arms"]) == ARMS
        assert one["max_relative_error"] < one["style_effect"] / 10
        assert one["arms"]["plain"]["to_plain"] == 1
        assert all(arm["seconds"] > 0 for arm in one["arms"].values())


def test_the_unconditional_halves_of_all_images_come_first():
    unet = fill_unet(create_meta_unet(TINY_UNET), torch.device("cpu"), torch.float32, 0)
    one = create_inputs(unet, 8, 0)
    three = repeat_inputs(one, 3)
    states = three["encoder_hidden_states"]
    assert states[:3].equal(one["encoder_hidden_states"][:1].expand(3, -1, -1))
    assert states[3:].equal(one["encoder_hidden_states"][1:].expand(3, -1, -1))


def test_the_lower_bound_is_known_for_known_gpus_only():
    assert lower_bound_seconds("NVIDIA H200", 1, 30) == pytest.approx(0.363, abs=1e-3)
    assert lower_bound_seconds("AMD EPYC", 1, 30) is None
