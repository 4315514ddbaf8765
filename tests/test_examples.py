"""The examples run, here on the small random model."""

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

import instantstyle

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
