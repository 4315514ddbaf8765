"""A plan says what would be loaded: as much as is loaded, no more, and without reading a weight."""

import pytest
import torch
from safetensors.torch import load_file

import instantstyle
from instantstyle.models.load_plan import plan


def test_a_plan_of_what_is_not_here_is_by_the_registry(hub):
    planned = plan("sdxl", blocks="style", device="cuda")
    assert planned.dtype == torch.float16
    assert planned.tensors[0] == "ip_adapter.69.to_k_ip.weight"
    assert len(planned.tensors) == 20
    # 10 layers, keys and values, two halves, 4 tokens, 1280 wide, 2 bytes.
    assert planned.style_bytes == 10 * 2 * 2 * 4 * 1280 * 2
    # 6.94 GB of pipeline and 3.69 GB of encoder, all stored in half precision.
    assert planned.num_bytes == pytest.approx(10.6e9, rel=0.01)


def test_what_is_stored_in_single_precision_is_half_as_large_in_half(hub):
    parts = {part.file.part: part for part in plan("sd15", device="cuda").weights}
    encoder = parts["image encoder"]
    assert encoder.num_bytes == encoder.file.num_bytes / 2


def test_a_plan_of_a_folder_is_what_loading_it_takes(folder):
    planned = plan(folder, blocks="style+layout", dtype=torch.float32)
    assert [str(block) for block in planned.blocks] == [
        "down_blocks.2.attentions.1",
        "up_blocks.0.attentions.1",
    ]
    loaded = instantstyle.load(folder)
    models = [loaded.pipe.unet, loaded.pipe.vae, loaded.pipe.text_encoder, loaded.pipe.text_encoder_2]
    numbers = sum(
        tensor.numel()
        for model in (*models, loaded.image_encoder.model)
        for tensor in model.state_dict().values()
    )
    weights = load_file(folder / "ip-adapter_small.safetensors")
    read = sum(
        weights[name].nbytes for name in weights if name in planned.tensors or name.startswith("image_proj")
    )
    assert planned.adapter_bytes == read
    held = planned.num_bytes - planned.style_bytes - read
    # Position ids are buffers that some files hold and others do not.
    assert held == pytest.approx(4 * numbers, rel=0.01)


def test_a_plan_reads_no_weight(folder, monkeypatch):
    monkeypatch.setattr("instantstyle.loaders.state_dict.SafetensorsStateDict._read", None)
    assert plan(folder).num_bytes > 0


def test_a_block_that_is_none_is_refused(hub):
    with pytest.raises(instantstyle.BlockError, match="Did you mean style"):
        plan("sdxl", blocks="stile")
