"""The record of how each shipped stage was trained."""

from pathlib import Path

import torch

from training.mini.export import update_training_record


def leg(images: int) -> dict[str, object]:
    return {"machine": "2 CPU cores", "images": images, "minutes": 1.0}


def save_state(folder: Path, name: str, legs: list[dict[str, object]]) -> None:
    """Save a state that was restored and trained no further."""
    images = sum(int(str(one["images"])) for one in legs)
    torch.save({"images": images, "earlier": legs}, folder / f"{name}.pt")


def test_a_new_autoencoder_drops_the_record_of_the_decoder_before(tmp_path):
    before = {"vae": [leg(1)], "unet-8": [leg(2)], "unet": [leg(3)], "decoder": [leg(4)]}
    save_state(tmp_path, "unet", [leg(3), leg(5)])
    record = update_training_record(tmp_path, before)
    assert record == before | {"unet": [leg(3), leg(5)]}
    save_state(tmp_path, "vae", [leg(6)])
    assert "decoder" not in update_training_record(tmp_path, before)
    save_state(tmp_path, "decoder", [leg(7)])
    assert update_training_record(tmp_path, before)["decoder"] == [leg(7)]
