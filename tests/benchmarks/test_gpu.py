"""The GPU's benchmark in small, on whatever there is here."""

import json

import pytest
import torch

from benchmarks.gpu import ARMS, floor, for_pictures, main
from benchmarks.sdxl import TINY_UNET, filled, inputs_of, sketched


@pytest.mark.slow
def test_every_setting_has_every_arm(tmp_path):
    out = tmp_path / "gpu.json"
    words = ["--tiny", "--no-compile", "--pictures", "1", "2", "--steps", "2", "--rounds", "1"]
    main([*words, "-o", str(out)])
    found = json.loads(out.read_text())["results"]["settings"]
    assert [(one["way"], one["pictures"]) for one in found] == [("eager", 1), ("eager", 2)]
    for one in found:
        assert tuple(one["arms"]) == ARMS
        assert one["max_relative_error"] < one["style_effect"] / 10
        assert one["arms"]["plain"]["to_plain"] == 1
        assert all(arm["seconds"] > 0 for arm in one["arms"].values())


def test_the_unconditional_halves_of_all_pictures_come_first():
    unet = filled(sketched(TINY_UNET), torch.device("cpu"), torch.float32, 0)
    one = inputs_of(unet, 8, 0)
    three = for_pictures(one, 3)
    words = three["encoder_hidden_states"]
    assert words[:3].equal(one["encoder_hidden_states"][:1].expand(3, -1, -1))
    assert words[3:].equal(one["encoder_hidden_states"][1:].expand(3, -1, -1))


def test_the_floor_is_known_for_known_gpus_alone():
    assert floor("NVIDIA H200", 1, 30) == pytest.approx(0.363, abs=1e-3)
    assert floor("AMD EPYC", 1, 30) is None
