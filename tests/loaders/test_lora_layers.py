"""The layers of a LoRA file under their names in the UNet, with the scale that its settings or its alphas state."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

from instantstyle import ModelError
from instantstyle.loaders.lora_file import LoraFile, find_blocks
from instantstyle.loaders.lora_layers import LoraLayers, read_layers
from instantstyle.loaders.weight_files import find_lora
from instantstyle.unet.architectures import SDXL
from instantstyle.unet.blocks import Block

from ..conftest import make_unet

LAYER = "up_blocks.0.attentions.1.transformer_blocks.0.attn1"
RANK = 4


@pytest.fixture(scope="module")
def pipe() -> Any:
    """What is read of a pipeline, with a UNet whose `proj_in` is a convolution, as in Stable Diffusion 1.5."""
    unet = make_unet(use_linear_projection=False)
    return SimpleNamespace(unet=unet, lora_state_dict=StableDiffusionXLPipeline.lora_state_dict)


def read(pipe: Any, path: Path, tensors: dict[str, Tensor], settings: dict[str, Any] | None = None) -> LoraLayers:
    header = None if settings is None else {"lora_adapter_metadata": json.dumps(settings)}
    save_file(tensors, path / "a.safetensors", header)
    return read_layers(LoraFile.read(find_lora(path / "a.safetensors")), pipe, pipe.unet)


def peft(name: str = f"{LAYER}.to_q", rank: int = RANK) -> dict[str, Tensor]:
    factors = {"A": torch.arange(rank * 16.0).reshape(rank, 16), "B": torch.ones(16, rank)}
    return {f"unet.{name}.lora_{letter}.weight": each for letter, each in factors.items()}


def kohya(stem: str, *kernel: int) -> dict[str, Tensor]:
    factors = {"down": torch.arange(RANK * 16.0).reshape(RANK, 16, *kernel), "up": torch.ones(16, RANK, *kernel)}
    return {f"lora_unet_{stem}.lora_{word}.weight": each for word, each in factors.items()}


# α/r (arXiv 2106.09685, section 4.1), and α/√r of rank-stabilized LoRA (arXiv 2312.03732).
@pytest.mark.parametrize(
    ("settings", "scales"),
    [
        (None, (1.0, 1.0)),
        ({"r": 4, "lora_alpha": 32}, (8.0, 8.0)),
        ({"r": 4, "lora_alpha": 6, "use_rslora": True}, (3.0, 3.0)),
        ({"r": 4, "lora_alpha": 2, "alpha_pattern": {"attn1.to_v": 12}}, (0.5, 3.0)),
        ({"r": 8, "rank_pattern": {f"{LAYER}.to_q": 4, "to_v": 4}}, (2.0, 2.0)),
    ],
)
def test_the_settings_in_the_header_scale_the_layers(pipe, tmp_path, settings, scales: tuple[float, float]):
    stored = None if settings is None else {f"unet.{name}": value for name, value in settings.items()}
    found = read(pipe, tmp_path, {**peft(), **peft(f"{LAYER}.to_v")}, stored).unet
    assert {name: each.scale for name, each in found.items()} == dict(
        zip((f"{LAYER}.to_q", f"{LAYER}.to_v"), scales, strict=True)
    )


def test_names_of_kohya_are_those_of_the_unet_also_after_the_original_code_of_sdxl(pipe, tmp_path):
    """Output block i of the original code is up block i // 3, of which it is number i % 3."""
    stem = LAYER.replace(".", "_")
    names = {
        f"{LAYER}.to_q": kohya(f"{stem}_to_q"),
        f"{LAYER}.to_out.0": kohya(f"{stem}_to_out_0"),
        "up_blocks.0.attentions.1.proj_in": kohya("up_blocks_0_attentions_1_proj_in", 1, 1),
    }
    tensors = {name: each for part in names.values() for name, each in part.items()}
    tensors[f"lora_unet_{stem}_to_q.alpha"] = torch.tensor(2.0)
    layers = read(pipe, tmp_path, tensors).unet
    assert {name: layer.scale for name, layer in layers.items()} == dict(zip(names, (0.5, 1.0, 1.0), strict=True))
    for name, layer in layers.items():
        assert_close(
            layer.up @ layer.down, torch.ones(16, RANK) @ torch.arange(RANK * 16.0).reshape(RANK, 16), msg=name
        )
    original = kohya("output_blocks_1_1_transformer_blocks_0_attn1_to_q")
    assert list(read(pipe, tmp_path, original).unet) == [f"{LAYER}.to_q"]


def test_text_encoders_are_counted_by_layers(pipe, tmp_path):
    text = {name.replace("unet.", "text_encoder_2."): each for name, each in peft("text_model.q_proj").items()}
    assert read(pipe, tmp_path, {**peft(), **text}).text == {"text_encoder_2": 1}


def test_what_a_header_states_must_fit_the_factors_and_a_pipeline_must_take_loras(pipe, tmp_path):
    with pytest.raises(ModelError, match=r"states the rank 3 for up_blocks.* whose factors have the rank 4; download"):
        read(pipe, tmp_path, peft(), {"unet.r": 3})
    with pytest.raises(ModelError, match=r"does not fit this model \(.*\); use a LoRA of kohya"):
        read(pipe, tmp_path, peft(), {"unet.r": 4, "unet.alpha_pattern": {"(": 1}})
    with pytest.raises(ModelError, match="SimpleNamespace takes no LoRA; leave it out"):
        read(SimpleNamespace(unet=pipe.unet), tmp_path, peft())


def test_the_blocks_of_a_file_are_found_by_the_names_of_its_tensors():
    """In Stability AI's names, as kohya's trainer writes them for SDXL, they are those that diffusers finds."""
    places = [*(f"input_blocks_{i}" for i in (4, 5, 7, 8)), *(f"output_blocks_{i}" for i in range(6)), "middle_block"]
    names = [f"lora_unet_{place}_1_transformer_blocks_0_attn1_to_q.lora_down.weight" for place in places]
    own = {"input_blocks": "down_blocks", "output_blocks": "up_blocks", "middle_block": "mid_block"}
    found: set[Block] = set()
    for name in names:
        [mapped] = _maybe_map_sgm_blocks_to_diffusers({name: 0}, SimpleNamespace(layers_per_block=2))
        for theirs, ours in own.items():
            mapped = mapped.replace(theirs, ours)
        blocks = find_blocks([name], SDXL.blocks)
        assert len(blocks) == 1
        assert blocks == find_blocks([mapped], SDXL.blocks), name
        found |= blocks
    assert found == set(SDXL.blocks)
    style = {Block.parse("up_blocks.0.attentions.1")}
    assert find_blocks(names[5:6], SDXL.blocks) == style
    assert find_blocks(peft(), SDXL.blocks) == style
    assert find_blocks(kohya(LAYER.replace(".", "_") + "_to_q"), SDXL.blocks) == style
    others = ("lora_unet_input_blocks_4_0_emb_layers_1", "unet.up_blocks.0.resnets.1.conv1", "lora_te1_text_model_x")
    assert find_blocks([f"{name}.lora_down.weight" for name in others], SDXL.blocks) == set()
