"""The examples run on the small random model."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import instantstyle
from instantstyle.synthetic import MINI_SCOPE, sample_scenes, to_pil_image

from .cli.conftest import model  # noqa: F401

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_every_example_has_fewer_than_forty_lines():
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert lengths
    assert {name: length for name, length in lengths.items() if length >= 40} == {}


def test_a_strip_starts_in_one_style_and_ends_in_another(model, reference, tmp_path, monkeypatch):  # noqa: F811
    reference.save(tmp_path / "ink.png")
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    monkeypatch.chdir(tmp_path)
    arguments = ["strip.py", "a", "ink.png", "teal.png", "--steps", "3", "--model", str(model)]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(EXAMPLES / "strip.py"), run_name="__main__")
    styled = instantstyle.load(model)
    expected = [styled("a", style=name, seed=7).images[0] for name in ("ink.png", "teal.png")]
    with Image.open("strip.png") as strip:
        width = expected[0].width
        ends = strip.crop((0, 0, width, strip.height)), strip.crop((2 * width, 0, 3 * width, strip.height))
        assert strip.width == 3 * width
    assert [end.tobytes() for end in ends] == [image.tobytes() for image in expected]


@pytest.mark.slow
def test_on_the_bundled_model_an_interpolated_style_lies_between_its_parts(tmp_path, monkeypatch):
    """The middle image of a strip is nearer to both ends than they are to each other."""
    generator = torch.Generator().manual_seed(3)
    scenes = sample_scenes(6, generator, MINI_SCOPE, held_out=True).render(192, generator)
    names = [f"{number}.png" for number in range(6)]
    for name, scene in zip(names, scenes, strict=True):
        to_pil_image(scene).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    make_strip = runpy.run_path(str(EXAMPLES / "strip.py"))["make_strip"]
    mini = instantstyle.load("mini")
    mini.pipe.set_progress_bar_config(disable=True)
    for one, other in (names[:2], names[2:4], names[4:]):
        pixels = np.asarray(make_strip(mini, "a rocket", one, other, 3), dtype=np.float32)
        start, middle, end = np.split(pixels, 3, axis=1)
        distance = np.abs(start - end).mean()
        assert max(np.abs(middle - start).mean(), np.abs(middle - end).mean()) < distance
