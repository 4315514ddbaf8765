"""`instantstyle explain` draws where the style of an image acts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from instantstyle.generation.explain import explain
from instantstyle.imaging.loading import open_reference

from ..conftest import make_pipe
from ..models.test_lora import save_lora

SHORT = ("--steps", 2, "--height", 32, "--width", 32, "--seed", 7)


@pytest.fixture
def make(run, model, reference, tmp_path):
    """Generate an image with a reference and a mask whose right half is white."""
    reference.save(tmp_path / "ink.png")
    mask = Image.new("L", (32, 32), 0)
    ImageDraw.Draw(mask).rectangle((16, 0, 31, 31), fill=255)
    mask.save(tmp_path / "mask.png")

    def generate(*words: object) -> None:
        done = run("generate", "a rocket", "--model", model, *SHORT, *words, "-o", "out.png", "--force")
        assert done.code == 0, done.err

    return generate


def test_the_map_is_warm_where_the_style_acts_and_pale_elsewhere(make, run, tmp_path):
    make("--style", "ink.png", "--mask", "mask.png")
    done = run("explain", "out.png")
    assert done.code == 0, done.err
    *shares, path = done.out.splitlines()
    assert path == "out-explained.png"
    assert {line.split()[0].rpartition(".t")[0] for line in shares} == {"up_blocks.0.attentions.1"}
    sheet = np.asarray(open_reference((tmp_path / path).read_bytes(), path), dtype=int)
    tile = sheet[-200:-20, -250:-10]
    warmth = tile[..., 0] - tile[..., 2]
    assert warmth[:, :100].mean() < 10 < 60 < warmth[:, 140:].mean()


def test_each_layer_can_have_its_map(make, run, tmp_path):
    make("--style", "ink.png", "--blocks", "up_blocks.0.*")
    one = run("explain", "out.png", "-o", "one.png")
    every = run("explain", "out.png", "-o", "every.png", "--layers")
    assert one.code == every.code == 0
    count = len(every.out.splitlines()) - 1
    assert count > 2
    narrow, wide = (open_reference((tmp_path / f"{name}.png").read_bytes(), name).width for name in ("one", "every"))
    assert wide - narrow == (count - 1) * (256 + 6)


def test_a_restyled_image_has_a_map_for_the_photo_that_is_a_reference_itself(run, model, reference, tmp_path):
    for name in ("ink", "photo"):
        reference.save(tmp_path / f"{name}.png")
    words = ("--style", "ink.png", "--prompt", "a", "--model", model, "--steps", 4, "--seed", 7)
    done = run("restyle", "photo.png", *words, "--image-scale", 0.2, "--blocks", "precise-style", "-o", "out.png")
    assert done.code == 0, done.err
    explanation = explain(Path("out.png"))
    (style, own), (photo, everywhere) = explanation.styles
    assert (style, photo) == ("ink.png", "photo.png")
    assert {*own} < {*everywhere} == {*explanation.layers}
    # In the layout block the unconditional part of the mode comes first.
    layout = [name for name in explanation.layers if name.startswith("down_blocks.2.attentions.1.")]
    assert layout
    assert {name for name, number in everywhere.items() if number} == {*own, *layout}
    shares = dict(explanation.list_shares())
    for name in layout:
        torch.testing.assert_close(shares[name], explanation.maps.share(name, style=1).mean().item())


def test_an_unconditional_part_alone_has_no_map(make, run):
    make("--style", "ink.png", "--blocks", "precise-style")
    *shares, _ = run("explain", "out.png", "--layers").out.splitlines()
    assert {line.split()[0].rpartition(".t")[0] for line in shares} == {"up_blocks.0.attentions.1"}


def test_an_image_in_which_no_style_acts_is_refused(make, run, tmp_path):
    for words in (("--scale", 0), ("--start", 0.9)):
        make("--style", "ink.png", *words)
        done = run("explain", "out.png")
        assert (done.code, "No style of out.png acts in it" in done.err) == (2, True), done.err
    assert not (tmp_path / "out-explained.png").exists()


@pytest.mark.parametrize(("words", "message"), [((), "was generated without a style"), (("-o", "out.png"), "exists")])
def test_what_cannot_be_explained_ends_in_one_line(make, run, words, message):
    make()
    done = run("explain", "out.png", *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err


def test_an_image_of_a_lora_in_blocks_says_that_it_has_no_maps(run, model, tokenizer_folder, tmp_path):
    save_lora(tmp_path / "lora.safetensors", make_pipe(tokenizer_folder).unet)
    words = ["--model", model, "--lora", "lora.safetensors@style", "--steps", 2, "--width", 16, "--height", 16]
    assert run("generate", "a", *words, "-o", "lora.png").code == 0
    done = run("explain", "lora.png")
    assert (done.code, "without a style beside LoRA files in blocks, which have no" in done.err) == (2, True), done.err
