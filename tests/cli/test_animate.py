"""`animate`: files of all formats carry the recipe and are reproduced; what does not fit ends in one line."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import MotionAdapter
from PIL import Image
from safetensors.torch import load_file, save_file

from instantstyle import InstantStyle, JobError, StyleError, load
from instantstyle.batch.manifest import read_manifest
from instantstyle.cli.console import format_size
from instantstyle.generation.load import plan_for
from instantstyle.imaging.animation_file import read_animation, save_animation
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.loaders.weight_files import describe_weights
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Reference

SHORT = ("--steps", 2, "--height", 16, "--width", 16, "--seed", 7)


def make_motion_adapter(**changes: object) -> MotionAdapter:
    torch.manual_seed(11)
    sizes = {"motion_norm_num_groups": 4, "motion_num_attention_heads": 8, "motion_max_seq_length": 4}
    settings: dict = {"block_out_channels": (8, 16, 16), **sizes, **changes}
    motion = MotionAdapter(**settings)
    for name, weight in motion.named_parameters():
        # A new motion module adds nothing: its last projection is zero.
        if "proj_out" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return motion


@pytest.fixture(scope="module")
def motion(tmp_path_factory) -> Path:
    """A motion adapter for the small random model, in diffusers' layout."""
    folder = tmp_path_factory.mktemp("motion")
    make_motion_adapter().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ink(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ink") / "ink.png"
    Image.effect_noise((32, 32), 90).convert("RGB").save(path)
    return path


@pytest.fixture(scope="module")
def animated(model, motion) -> InstantStyle:
    styled = load(model, motion_adapter=motion)
    styled.pipe.set_progress_bar_config(disable=True)
    return styled


@pytest.mark.slow
def test_an_animation_carries_the_recipe_that_reproduces_it(run, model, motion, ink, tmp_path):
    moved = tmp_path / "motion.safetensors"
    moved.write_bytes((motion / "diffusion_pytorch_model.safetensors").read_bytes())
    words = ("animate", "a", "--style", ink, "--blocks", "all", "--model", model, *SHORT, "--motion-adapter", moved)
    done = run(*words, "--frames", 3, "--fps", 12, "--frame-weights", "0:1", "-o", "out.mp4")
    assert (done.code, done.out) == (0, "out.mp4\n"), done.err
    frames, _ = read_animation(Path("out.mp4").read_bytes(), "out")
    assert len({frame.tobytes() for frame in frames}) == len(frames) == 3
    recipe = Recipe.from_json(run("recipe", "out.mp4").out)
    assert recipe == read_recipe("out.mp4")
    assert (recipe.frames, recipe.fps, recipe.frame_weights) == (3, 12, (0, 1))
    assert recipe.motion_adapter == describe_weights("motion_adapter", Reference(name=str(moved)))
    assert (recipe.scheduler, recipe.height) == ("DDIMScheduler", 16)
    (tmp_path / "folder").mkdir()
    moved.rename(tmp_path / "folder" / "renamed.safetensors")
    done = run("reproduce", "out.mp4", "--references", tmp_path / "folder", "-o", "again.gif")
    assert (done.code, done.out) == (0, "bit-identical\n"), done.err
    assert read_recipe("again.gif") == recipe
    explained = run("explain", "again.gif")
    assert (explained.code, "again.gif is an animation" in explained.err) == (2, True), explained.err
    save_animation(frames[::-1], "reversed.webp", 12, recipe)
    changed = run("reproduce", "reversed.webp", "--references", tmp_path / "folder")
    assert (changed.code, changed.err) == (1, "")
    assert "of 768 pixels differ" in changed.out
    save_file({"other": torch.zeros(1)}, moved)
    (tmp_path / "folder" / "renamed.safetensors").unlink()
    done = run("reproduce", "out.mp4")
    assert done.code == 2
    assert "motion.safetensors is another file than the image was generated with" in done.err


def test_python_saves_what_the_command_writes(run, model, motion, ink, animated):
    short = {"num_inference_steps": 2, "height": 16, "width": 16, "seed": 7}
    output = animated("a", style=ink, blocks="all", num_frames=3, frames=[0, 1], **short)
    output.save("python.png", fps=12)
    words = ("animate", "a", "--style", ink, "--blocks", "all", "--model", model, *SHORT, "--motion-adapter", motion)
    done = run(*words, "--frames", 3, "--fps", 12, "--frame-weights", "0:1", "-o", "command.png")
    assert done.code == 0, done.err
    python, command = (read_animation(Path(f"{name}.png").read_bytes(), name)[0] for name in ("python", "command"))
    assert [frame.tobytes() for frame in python] == [frame.tobytes() for frame in command]
    left_open = {"crop", "content_scale", "removal"}
    recipes = [read_recipe(f"{name}.png").model_dump(exclude=left_open) for name in ("python", "command")]
    assert recipes[0] == recipes[1]
    with pytest.raises(JobError, match="a function as frames"):
        animated("a", style=ink, frames=lambda share: share, num_frames=2, **short).save("function.png")


def test_all_weights_of_the_base_are_in_the_network_with_motion_modules(model, animated):
    """diffusers' own conversion (0.42) leaves SDXL's `add_embedding` random."""
    nets: list[Any] = [animated.pipe.unet, load(model).pipe.unet]
    moved, tensors = (net.state_dict() for net in nets)
    assert "add_embedding.linear_1.weight" in tensors
    assert [name for name, tensor in tensors.items() if not tensor.equal(moved[name])] == []


@pytest.mark.parametrize("layout", ["file", "original", "module"])
def test_a_file_alone_is_read_in_both_layouts(model, motion, animated, tmp_path, layout):
    """The names of the original implementation, whose inverse is that of diffusers' conversion."""
    tensors = load_file(motion / "diffusion_pytorch_model.safetensors")
    if layout != "file":
        renamed = {}
        for name, tensor in tensors.items():
            name = name.replace(".attn1.", ".attention_blocks.0.").replace(".attn2.", ".attention_blocks.1.")
            name = name.replace(".norm1.", ".norms.0.").replace(".norm2.", ".norms.1.").replace(".norm3.", ".ff_norm.")
            name = name.replace(".pos_embed.pe", ".attention_blocks.0.pos_encoder.pe")
            place = name.index(".motion_modules.") + len(".motion_modules.0")
            renamed[f"{'module.' * (layout == 'module')}{name[:place]}.temporal_transformer{name[place:]}"] = tensor
        tensors = renamed
    save_file(tensors, tmp_path / "motion.safetensors")
    styled = load(model, motion_adapter=tmp_path / "motion.safetensors")
    nets: list[Any] = [animated.pipe.unet, styled.pipe.unet]
    expected, found = (net.state_dict() for net in nets)
    assert nets[1].config.motion_max_seq_length == 4
    assert all(tensor.equal(expected[name]) for name, tensor in found.items())


@pytest.mark.slow
def test_what_does_not_fit_ends_in_one_line(run, model, motion, ink, tmp_path):
    make_motion_adapter(block_out_channels=(8, 16, 16, 16)).save_pretrained(tmp_path / "sd15")
    (tmp_path / "empty").mkdir()
    save_file({"decoder.conv_in.weight": torch.zeros(1)}, tmp_path / "vae.safetensors")
    tensors = load_file(motion / "diffusion_pytorch_model.safetensors")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "config.json").write_bytes((motion / "config.json").read_bytes())
    cut = {name: tensor for name, tensor in tensors.items() if "up_blocks.0" not in name}
    save_file(cut, tmp_path / "cut" / "diffusion_pytorch_model.safetensors")
    save_file({**tensors, "conv_in.weight": torch.zeros(8, 9, 3, 3)}, tmp_path / "pia.safetensors")
    cases = {
        ("--frames", 5): r"The video has 5 frames, and the motion adapter has positions for 4",
        ("--frames", 0): r"frames is 0",
        ("--fps", 60): r"fps is 60",
        ("--frame-weights", "0:x"): r"frame_weights.1 is 'x'",
        ("--frame-weights", "0:1"): r"frame_weights can only act on the style of a reference",
        ("--motion-adapter", "sd15"): r"is a motion adapter of one with blocks of 8, 16, 16, 16, and this "
        r"model is one with blocks of 8, 16, 16;",
        ("--motion-adapter", "empty"): r"'empty' is no motion adapter: it has no diffusion_pytorch_model.safetensors",
        (
            "--motion-adapter",
            "vae.safetensors",
        ): r"is no motion adapter: no tensor has a name of one; it has "
        r"decoder.conv_in.weight",
        ("--motion-adapter", "cut"): r"is no whole motion adapter: \d+ tensors are missing and 0 are unknown",
        ("--motion-adapter", "pia.safetensors"): r"is a motion adapter of PIA, which animates a given image",
        ("--motion-adapter", "none.safetensors"): r"There is no motion adapter 'none.safetensors'",
        ("-o", "out.jpg"): r"out.jpg should end in .gif, .webp, .png or .mp4",
        ("-o", "there.gif"): r"there.gif exists",
    }
    Path("there.gif").touch()
    wrong = {}
    for words, message in cases.items():
        adapter = () if "--motion-adapter" in words else ("--motion-adapter", motion)
        done = run("animate", "a", "--model", model, *SHORT, *adapter, *words)
        if (done.code, done.err.count("\n")) != (2, 1) or not re.search(message, done.err):
            wrong[words] = done
    assert not wrong


@pytest.mark.slow
def test_a_plan_counts_loras_motion_modules_and_another_vae(run, model, motion, tmp_path, monkeypatch):
    """Their files, and their memory: merged LoRA files take none, and a VAE takes the place of the model's own."""
    save_file({"a.lora_A.weight": torch.zeros(2, 2)}, tmp_path / "ink.safetensors")
    torch.save({"epoch": 1, "state_dict": load_file(motion / "diffusion_pytorch_model.safetensors")}, "mm.ckpt")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("instantstyle.models.load", None)
    words = ("a", "--model", model, "--device", "cpu", "--plan", "--lora", "ink.safetensors=0.5")
    plain = run("generate", "a", "--model", model, "--device", "cpu", "--plan").out
    memory = plan_for(Recipe(prompt="a", seed=1, model=str(model)), "cpu").num_bytes
    merged = run("generate", *words, "--vae", model / "vae").out
    last = [out.splitlines()[-1] for out in (plain, merged)]
    assert last[0] == last[1] == f"memory: {format_size(memory)} for weights and style; activations come on top"
    lora = tmp_path / "ink.safetensors"
    assert f"lora: {lora.name} ({format_size(lora.stat().st_size)} on disk)" in merged
    assert f"replacing vae: {model / 'vae' / 'diffusion_pytorch_model.safetensors'} (" in merged
    parameters = sum(tensor.numel() for tensor in make_motion_adapter().state_dict().values())
    for name in (motion, "mm.ckpt"):
        recipe = Recipe(prompt="a", seed=1, model=str(model), motion_adapter=Reference(name=str(name)))
        assert plan_for(recipe, "cpu").num_bytes == memory + 4 * parameters
        planned = run("animate", *words, "--motion-adapter", name).out
        assert f"motion adapter: {name}" in planned
        assert f", {format_size(4 * parameters)} in memory)" in planned
    # Files of the hub are named, and not downloaded for a plan.
    absent = run("animate", *words, "--motion-adapter", "owner/motion").out
    assert "motion adapter: MISSING, owner/motion/diffusion_pytorch_model.safetensors (" in absent
    assert "missing: 2 files; " in absent
    assert "`hf download owner/motion config.json diffusion_pytorch_model.safetensors`" in absent


def test_a_model_that_no_motion_adapter_extends_is_refused_before_anything_is_fetched(run, tmp_path, monkeypatch):
    monkeypatch.setattr("instantstyle.loaders.weight_files.fetch_file", None)
    (tmp_path / "pixart").mkdir()
    (tmp_path / "pixart" / "model_index.json").write_text('{"_class_name": "PixArtSigmaPipeline"}')
    for model in (None, "flux-dev", "kolors", "pixart"):
        words = ("animate", "a", "--motion-adapter", "owner/motion", *(("--model", model) if model else ()))
        for more in ((), ("--plan",)):
            done = run(*words, *more)
            message = f"{model or 'mini'} cannot be animated: motion adapters extend SD1.5 and SDXL"
            assert (done.code, done.err.count("\n"), message in done.err) == (2, 1, True), done.err


def test_a_plan_refuses_files_of_another_kind(run, model):
    save_file({"image_embeds": torch.zeros(1, 4)}, "ink.style.safetensors")
    for verb, flag in (("animate", "--motion-adapter"), ("generate", "--vae"), ("generate", "--lora")):
        done = run(verb, "a", "--model", model, "--device", "cpu", "--plan", flag, "ink.style.safetensors")
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert "by its tensors: a saved style; name it as style (--style)." in done.err


def test_mp4_without_its_library_is_refused_before_the_model_is_loaded(run, model, motion, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    done = run("animate", "a", "--model", "no-model", "--motion-adapter", motion, "-o", "a.mp4")
    assert done.code == 2
    assert "pip install 'instantstyle[video]'" in done.err


def test_images_refuse_a_motion_adapter_by_name(motion, tmp_path):
    from instantstyle.generation.sweep_axis import SweepAxis
    from instantstyle.server.schemas import GenerationRequest

    row = {"prompt": "a", "seed": 1, "motion_adapter": str(motion), "frames": 3}
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(JobError, match=r"motion_adapter and frames cannot be used here: a batch generates single"):
        read_manifest(path)
    with pytest.raises(JobError, match=r"motion_adapter cannot be used here: the service generates single images"):
        GenerationRequest.model_validate({"prompt": "a", "motion_adapter": "motion"})
    with pytest.raises(JobError, match="A sweep cannot vary frames: its images are not animations"):
        SweepAxis.parse("frames=1,2")


def test_frames_of_images_are_refused(model, ink):
    with pytest.raises(StyleError, match="frames gives weights to the frames of a video, and this pipeline generates"):
        load(model)("a", style=ink, frames=[0, 1], height=16, width=16)
