"""Motion modules are added to pipelines of SD1.5 and SDXL, and LoRA files can be for them; others are refused."""

from typing import Any

import pytest
import torch
from diffusers import AnimateDiffPipeline, DDIMScheduler, EulerDiscreteScheduler, MotionAdapter
from safetensors.torch import save_file

from instantstyle import ModelError
from instantstyle.errors import CheckpointError, InstantStyleError
from instantstyle.generation.weights import locate_weights, read_weights
from instantstyle.loaders.weight_files import describe_weights, find_motion_adapter
from instantstyle.models.lora import list_loras, merge_loras
from instantstyle.models.motion_adapter import SCHEDULER, add_motion_modules
from instantstyle.recipe_types import Reference

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


def name_as_the_original(name: str) -> str:
    """Return the name in AnimateDiff's own files for a name of diffusers; the inverse of diffusers' conversion."""
    for ours, theirs in (
        *((f".attn{number}.", f".attention_blocks.{number - 1}.") for number in (1, 2)),
        *((f".norm{number}.", f".norms.{number - 1}.") for number in (1, 2)),
        *((".norm3.", ".ff_norm."), (".pos_embed.pe", ".attention_blocks.0.pos_encoder.pe")),
    ):
        name = name.replace(ours, theirs)
    place = name.index(".motion_modules.") + len(".motion_modules.0")
    return f"module.{name[:place]}.temporal_transformer{name[place:]}"


def test_original_checkpoints_are_read_without_running_code(tokenizer_folder, motion, tmp_path, monkeypatch):
    """As `mm_sd_v15_v2.ckpt` lies on the hub: tensors alone, or beside the state of the trainer."""
    tensors = find_motion_adapter(motion.name).read().tensors
    original = {name_as_the_original(name): tensor for name, tensor in tensors.items()}
    expected = add_motion_modules(make_sd15(tokenizer_folder), motion).unet.state_dict()
    trained = {"epoch": 1, "global_step": 10, "state_dict": original}
    for number, (content, zipped) in enumerate([(original, True), (trained, True), (trained, False)]):
        path = tmp_path / f"mm{number}.ckpt"
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        entry = describe_weights("motion_adapter", Reference(name=str(path)))
        assert read_weights("motion_adapter", str(path)) == entry
        found = add_motion_modules(make_sd15(tokenizer_folder), entry).unet.state_dict()
        assert {name for name, tensor in expected.items() if not tensor.equal(found[name])} == set()
    moved = tmp_path / "moved" / "other.ckpt"
    moved.parent.mkdir()
    path.rename(moved)
    assert locate_weights("motion_adapter", entry, [moved.parent]) == str(moved)
    monkeypatch.setattr("builtins.print", pytest.fail)
    for content, message in (
        (
            {"a": _Prints()},
            r"mm\.ckpt contains more than tensors and was rejected, because loading it could",
        ),
        ([torch.ones(1)], r"mm\.ckpt contains a list, not a dictionary of tensors"),
        ({"a": torch.ones(1)}, r"mm\.ckpt has no motion modules; it has a"),
    ):
        torch.save(content, tmp_path / "mm.ckpt")
        with pytest.raises(InstantStyleError, match=message) as error:
            add_motion_modules(make_sd15(tokenizer_folder), Reference(name=str(tmp_path / "mm.ckpt")))
        assert "\n" not in str(error.value)
    (tmp_path / "mm.ckpt").write_bytes(moved.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"is not a complete .* file"):
        add_motion_modules(make_sd15(tokenizer_folder), Reference(name=str(tmp_path / "mm.ckpt")))


class _Prints:
    """An object whose pickle calls a function when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("loaded",)


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
