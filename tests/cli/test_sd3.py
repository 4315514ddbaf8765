"""The command with a folder of SD3.5."""

from pathlib import Path

import pytest
from PIL import Image

from instantstyle.imaging.png_metadata import read_recipe

from ..parity.sd3 import save_sd3

SMALL = ("--width", 64, "--height", 48, "--steps", 2, "--seed", 1)

pytestmark = pytest.mark.filterwarnings("ignore:The model was trained on images of")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer_folder) -> Path:
    """A folder with a small pipeline, an adapter of InstantX's kind and its image encoder."""
    folder = tmp_path_factory.mktemp("sd3")
    save_sd3(folder, tokenizer_folder)
    return folder


@pytest.mark.slow
def test_images_are_generated_planned_and_reproduced(run, folder, reference):
    reference.save("ink.png")
    words = ("generate", "a", "--blocks", "all", "--model", folder, *SMALL)
    done = run(*words, "--style", "ink.png", "--negative", "b", "-o", "out.png")
    assert done.code == 0, done.err
    assert read_recipe("out.png").scheduler == "FlowMatchEulerDiscreteScheduler"
    assert "bit-identical" in run("reproduce", "out.png").out
    assert run("doctor", folder).code == 0
    planned = run(*words, "--style", "ink.png", "-o", "out.png", "--plan")
    assert "transformer_blocks.0–2" in planned.out, planned.err
    assert "adapter tensors: 21 (ip_adapter.0.norm_ip.linear.weight … ip_adapter.2.norm_ip_k.weight)" in planned.out
    saved = run("style", "ink.png", "--model", folder, "-o", "ink.style.safetensors")
    assert saved.code == 0, saved.err
    done = run(*words, "--style", "ink.style.safetensors", "--negative", "b", "-o", "again.png")
    assert done.code == 0, done.err
    with Image.open("out.png") as one, Image.open("again.png") as other:
        assert max(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True)) <= 4
    bind = ("--bind", folder, "--blocks", "transformer_blocks.1", "--steps", 2, "-o", "bound.style.safetensors")
    bound = run("style", "ink.png", *bind)
    assert bound.code == 0, bound.err
    one = ("generate", "a", "--blocks", "transformer_blocks.1", "--model", folder, *SMALL)
    for style, out in (("ink.png", "one.png"), ("bound.style.safetensors", "other.png")):
        done = run(*one, "--style", style, "-o", out)
        assert done.code == 0, done.err
    with Image.open("one.png") as first, Image.open("other.png") as second:
        assert max(abs(a - b) for a, b in zip(first.tobytes(), second.tobytes(), strict=True)) <= 4
    assert "at each of 2 steps" in run("styles", "show", "bound.style.safetensors").out
    plain = run("generate", "a", "--model", folder, *SMALL, "-o", "plain.png")
    assert plain.code == 0, plain.err
