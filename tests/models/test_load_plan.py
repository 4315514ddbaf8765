"""A plan contains exactly what would be loaded, and is made without reading weights."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import instantstyle
from instantstyle.models.load_plan import plan


def test_a_plan_of_missing_files_uses_the_sizes_of_the_registry(hub):
    planned = plan("sdxl", blocks=["style"], device="cuda")
    assert planned.dtype == torch.float16
    assert planned.tensors[0] == "ip_adapter.69.to_k_ip.weight"
    assert len(planned.tensors) == 20
    # 10 layers, keys and values, conditional and unconditional, 4 tokens, width 1280, 2 bytes.
    assert planned.style_bytes == 10 * 2 * 2 * 4 * 1280 * 2
    # 6.94 GB of pipeline and 3.69 GB of encoder, all stored in half precision.
    assert planned.num_bytes == pytest.approx(10.6e9, rel=0.01)


def test_weights_stored_in_float32_take_half_the_memory_in_float16(hub):
    parts = {part.file.part: part for part in plan("sd15", device="cuda").weights}
    encoder = parts["image encoder"]
    assert encoder.num_bytes == encoder.file.num_bytes / 2


def test_a_plan_of_a_folder_has_the_memory_that_loading_it_takes(folder):
    planned = plan(folder, blocks=["style+layout"], dtype=torch.float32)
    assert [str(block) for block in planned.blocks] == [
        "down_blocks.2.attentions.1",
        "up_blocks.0.attentions.1",
    ]
    loaded = instantstyle.load(folder)
    pipe: Any = loaded.pipe
    models = [pipe.unet, pipe.vae, pipe.text_encoder, pipe.text_encoder_2]
    numbers = sum(
        tensor.numel() for model in (*models, loaded.image_encoder.model) for tensor in model.state_dict().values()
    )
    weights = load_file(folder / "ip-adapter_small.safetensors")
    read = sum(weights[name].nbytes for name in weights if name in planned.tensors or name.startswith("image_proj"))
    assert planned.adapter_bytes == read
    memory = planned.num_bytes - planned.style_bytes - read
    # Position ids are buffers, which only some files contain.
    assert memory == pytest.approx(4 * numbers, rel=0.01)


def test_a_plan_reads_no_weights(folder, monkeypatch):
    monkeypatch.setattr("instantstyle.loaders.state_dict.SafetensorsStateDict._read", None)
    assert plan(folder).num_bytes > 0


def test_a_second_adapter_is_counted_with_an_image_encoder_that_the_first_has_not(hub):
    for model, parts in {"sdxl": {"adapter", "image encoder"}, "sdxl-vit-h": {"adapter"}}.items():
        first, second = (plan(name, blocks=["style"], device="cuda") for name in (model, "sdxl-plus"))
        both = replace(first, second=second)
        assert {planned.file.part for planned in both.second_weights} == parts
        assert not {file.file for file in both.second_files} & {file.file for file in first.files}
        added = sum(planned.num_bytes for planned in second.weights if planned.file.part in parts)
        assert both.num_bytes == first.num_bytes + added + second.style_bytes
        assert added >= 1.2e9 * (model == "sdxl")


def test_an_unknown_block_raises_an_error(hub):
    with pytest.raises(instantstyle.BlockError, match="Did you mean style"):
        plan("sdxl", blocks=["stile"])
