"""Training states as small files."""

import torch

from training.mini import checkpoint
from training.mini.checkpoint import quantise, read_checkpoint, write_checkpoint

LEG = {"machine": "2 CPU cores", "images": 64, "minutes": 1.0}


def make_state() -> dict:
    weights = {"a.weight": torch.randn(6, 5, 3, 3), "a.bias": torch.randn(6), "b.weight": torch.zeros(2, 3)}
    own = {"images": 96, "seconds": 60.0, "machine": "2 CPU cores"}
    return {"module": {}, "averaged": weights, "earlier": [LEG], **own}


def test_a_rounded_weight_is_off_by_half_a_step_of_its_row():
    weight = torch.randn(4, 7) * torch.tensor([[1.0], [1e-3], [50.0], [0.0]])
    rounded, scale = quantise(weight)
    assert rounded.dtype == torch.int8
    off = (rounded * scale[:, None] - weight).abs()
    assert (off <= weight.abs().amax(1, keepdim=True) / 127 * 0.501).all()


def test_a_state_goes_on_from_its_file(tmp_path):
    torch.manual_seed(0)
    state = make_state()
    for eight_bits, tolerance in ((True, 0.02), (False, 1e-3)):
        write_checkpoint(state, tmp_path / "x.safetensors", eight_bits=eight_bits)
        found = read_checkpoint(tmp_path / "x.safetensors")
        assert found["averaged"].keys() == state["averaged"].keys()
        for name, weight in state["averaged"].items():
            assert torch.allclose(found["averaged"][name], weight, atol=tolerance), name
        assert (found["images"], found["seconds"]) == (96, 0.0)
        assert found["earlier"] == [LEG, {"machine": "2 CPU cores", "images": 32, "minutes": 1.0}]


def test_the_command_writes_a_file_for_each_stage(tmp_path, capsys):
    torch.save(make_state(), tmp_path / "vae.pt")
    checkpoint.main(["vae", "--folder", str(tmp_path), "--target", str(tmp_path / "states")])
    assert (tmp_path / "states" / "vae.safetensors").exists()
    assert "vae.safetensors" in capsys.readouterr().out
