"""Motion modules are added to pipelines of SD1.5 and SDXL, and LoRA files can be for them; others are refused."""

from typing import Any

import pytest
import torch
from diffusers import AnimateDiffPipeline, DDIMScheduler, EulerDiscreteScheduler, MotionAdapter
from safetensors.torch import save_file

from instantstyle import ModelError
from instantstyle.models.lora import list_loras, merge_loras
from instantstyle.models.motion_adapter import SCHEDULER, add_motion_modules
from instantstyle.models.weight_files import describe_weights
from instantstyle.recipe import Reference

from ..parity.test_other_pipelines import make_sd15


@pytest.fixture(scope="module")
def motion(tmp_path_factory) -> Any:
    folder = tmp_path_factory.mktemp("motion")
    torch.manual_seed(11)
    widths: Any = (8, 16, 16, 16)
    adapter = MotionAdapter(block_out_channels=widths, motion_norm_num_groups=4, motion_num_attention_heads=2)
    adapter.save_pretrained(folder)
    return describe_weights("motion_adapter", Reference(name=str(folder)))


def test_sd15_becomes_a_pipeline_of_animatediff_with_the_same_components(tokenizer_folder, motion):
    pipe = make_sd15(tokenizer_folder)
    made = add_motion_modules(pipe, motion)
    assert type(made) is AnimateDiffPipeline
    assert all(getattr(made, name) is getattr(pipe, name) for name in ("vae", "text_encoder", "tokenizer"))
    moved = made.unet.state_dict()
    assert all(tensor.equal(moved[name]) for name, tensor in pipe.unet.state_dict().items())
    assert type(made.scheduler) is DDIMScheduler
    assert {name: made.scheduler.config[name] for name in SCHEDULER} == SCHEDULER
    pipe.scheduler = EulerDiscreteScheduler()
    assert add_motion_modules(pipe, motion, keeps_scheduler=True).scheduler is pipe.scheduler


def test_a_pipeline_of_another_kind_is_refused_by_name(tokenizer_folder, motion):
    made = add_motion_modules(make_sd15(tokenizer_folder), motion)
    with pytest.raises(ModelError, match=r"extends StableDiffusionPipeline or .* has a AnimateDiffPipeline"):
        add_motion_modules(made, motion)


def test_a_lora_of_motion_modules_changes_them(tokenizer_folder, motion, tmp_path):
    """Its attn2 reads frames: the width of its keys is no width of text tokens."""
    made = add_motion_modules(make_sd15(tokenizer_folder), motion)
    name = "down_blocks.0.motion_modules.0.transformer_blocks.0.attn2.to_k"
    weight = made.unet.get_submodule(name).weight.detach().clone()
    generator = torch.Generator().manual_seed(1)
    down, up = (torch.randn(shape, generator=generator) for shape in ((2, weight.shape[1]), (weight.shape[0], 2)))
    tensors = {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    save_file(tensors, tmp_path / "zoom.safetensors")
    merge_loras(made, list_loras([(tmp_path / "zoom.safetensors", 0.5)]))
    torch.testing.assert_close(made.unet.get_submodule(name).weight, weight + 0.5 * up @ down, rtol=1e-5, atol=1e-5)
