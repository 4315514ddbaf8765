"""`instantstyle explain` draws where the style of an image acts."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from instantstyle.imaging.loading import open_reference

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


@pytest.mark.parametrize(("words", "message"), [((), "was generated without a style"), (("-o", "out.png"), "exists")])
def test_what_cannot_be_explained_ends_in_one_line(make, run, words, message):
    make()
    done = run("explain", "out.png", *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err
