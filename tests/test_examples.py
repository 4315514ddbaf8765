"""The examples run, here on the small random model."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import instantstyle
from instantstyle.synthetic import MINI_SCOPE, as_image, sample_scenes

from .cli.conftest import model  # noqa: F401

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path):
    assert len(path.read_text().splitlines()) < 40


def test_a_strip_leads_from_one_style_to_another(model, reference, tmp_path, monkeypatch):  # noqa: F811
    reference.save(tmp_path / "ink.png")
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    monkeypatch.chdir(tmp_path)
    words = ["strip.py", "a", "ink.png", "teal.png", "--steps", "3", "--model", str(model)]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(EXAMPLES / "strip.py"), run_name="__main__")
    styled = instantstyle.load(model)
    wanted = [styled("a", style=name, seed=7).images[0] for name in ("ink.png", "teal.png")]
    with Image.open("strip.png") as strip:
        width = wanted[0].width
        ends = strip.crop((0, 0, width, strip.height)), strip.crop((2 * width, 0, 3 * width, strip.height))
        assert strip.width == 3 * width
    assert [end.tobytes() for end in ends] == [picture.tobytes() for picture in wanted]


@pytest.mark.slow
def test_on_the_bundled_model_a_mixed_style_lies_between_its_parts(tmp_path, monkeypatch):
    """In the middle of a strip is a picture nearer to both ends than they are to each other."""
    generator = torch.Generator().manual_seed(3)
    scenes = sample_scenes(6, generator, MINI_SCOPE, held_out=True).pictures(192, generator)
    names = [f"{place}.png" for place in range(6)]
    for name, scene in zip(names, scenes, strict=True):
        as_image(scene).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    strip = runpy.run_path(str(EXAMPLES / "strip.py"))["strip"]
    mini = instantstyle.load("mini")
    mini.pipe.set_progress_bar_config(disable=True)
    for one, other in (names[:2], names[2:4], names[4:]):
        drawn = np.asarray(strip(mini, "a rocket", one, other, 3), dtype=np.float32)
        begin, middle, end = np.split(drawn, 3, axis=1)
        whole_way = np.abs(begin - end).mean()
        assert max(np.abs(middle - begin).mean(), np.abs(middle - end).mean()) < whole_way
