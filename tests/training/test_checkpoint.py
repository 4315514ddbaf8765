"""Training states as small files."""

import torch

from training.mini import checkpoint
from training.mini.checkpoint import quantise, read_checkpoint, read_record, write_checkpoint
from training.mini.stage import list_legs

LEG = {"machine": "2 CPU cores", "images": 64, "minutes": 1.0, "lr": 1e-3}


def make_state() -> dict:
    weights = {"a.weight": torch.randn(6, 5, 3, 3), "a.bias": torch.randn(6), "b.weight": torch.zeros(2, 3)}
    own = {"images": 96, "seconds": 60.0, "machine": "2 CPU cores", "lr": 4e-4}
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
        record = {"unet-8": [LEG], "unet-16": list_legs(state)}
        write_checkpoint(state, record, tmp_path / "x.safetensors", eight_bits=eight_bits)
        before, found = read_checkpoint(tmp_path / "x.safetensors").values()
        assert (before["images"], before["earlier"]) == (64, [LEG])
        assert found["averaged"].keys() == state["averaged"].keys()
        for name, weight in state["averaged"].items():
            assert torch.allclose(found["averaged"][name], weight, atol=tolerance), name
        assert (found["images"], found["seconds"]) == (96, 0.0)
        assert found["earlier"] == [LEG, {**LEG, "images": 32, "lr": 4e-4}]


def test_the_command_writes_a_file_for_each_stage(tmp_path, capsys):
    for name in ("vae", "unet-8", "unet-16"):
        torch.save(make_state(), tmp_path / f"{name}.pt")
    checkpoint.main(["vae", "unet-16", "--folder", str(tmp_path), "--target", str(tmp_path / "states")])
    assert "vae.safetensors" in capsys.readouterr().out
    files = {file.stem: [*read_record(file)] for file in (tmp_path / "states").iterdir()}
    assert files == {"vae": ["vae"], "unet-16": ["unet-8", "unet-16"]}
