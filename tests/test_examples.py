"""The examples run on the small random model."""

import runpy
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image

import instantstyle
from instantstyle import InstantStyle, Style, StyleConditioning
from instantstyle.synthetic import MINI_SCOPE, sample_scenes, to_pil_image

from .cli.conftest import model  # noqa: F401

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_every_example_has_fewer_than_forty_lines():
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert lengths
    assert {name: length for name, length in lengths.items() if length >= 40} == {}


@pytest.fixture
def run_example(model, reference, tmp_path, monkeypatch):  # noqa: F811
    """Return a function that runs an example on the small random model, in a folder with two references."""
    reference.save(tmp_path / "ink.png")
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str) -> InstantStyle:
        monkeypatch.setattr(sys, "argv", [name, *arguments, "--model", str(model)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return instantstyle.load(model)

    return run


def read_columns(file: str, count: int) -> list[bytes]:
    """Read the images of a row of images of one width."""
    with Image.open(file) as sheet:
        width = sheet.width // count
        return [sheet.crop((k * width, 0, (k + 1) * width, sheet.height)).tobytes() for k in range(count)]


@pytest.mark.slow
def test_a_strip_starts_in_one_style_and_ends_in_another(run_example):
    styled = run_example("strip.py", "a", "ink.png", "teal.png", "--steps", "3")
    expected = [styled("a", style=name, seed=7).images[0].tobytes() for name in ("ink.png", "teal.png")]
    start, middle, end = read_columns("strip.png", 3)
    assert [start, end] == expected
    assert middle not in expected


@pytest.mark.slow
def test_the_first_example_compares_four_different_images(run_example):
    styled = run_example("first_style.py", "a", "ink.png", "b")
    calls: list[dict[str, Any]] = [
        {},
        {"style": "ink.png", "blocks": "all"},
        {"style": "ink.png"},
        {"style": "ink.png", "content": "b"},
    ]
    expected = [styled("a", seed=7, **call).images[0].tobytes() for call in calls]
    assert read_columns("compared.png", 4) == expected
    assert len({*expected}) == 4


@pytest.mark.slow
def test_style_and_layout_come_from_two_references(run_example):
    styled = run_example("style_and_layout.py", "a", "ink.png", "teal.png", "--scale", "0.5")
    one, two = (styled.style(name) for name in ("ink.png", "teal.png"))
    conditionings = [StyleConditioning(one, scale=0.5), StyleConditioning(two, blocks="layout")]
    assert read_columns("both.png", 1) == [styled("a", style=conditionings, seed=7).images[0].tobytes()]


@pytest.mark.slow
def test_a_portable_style_needs_no_adapter(run_example):
    """It writes files of its own, and a second time as well."""
    Path("ink.style.safetensors").write_bytes(b"of docs/artist.md")
    run_example("portable_style.py", "another", "ink.png")
    styled = run_example("portable_style.py", "a", "ink.png", "--content", "b")
    assert Path("ink.style.safetensors").read_bytes() == b"of docs/artist.md"
    style = Style.load("portable.style.safetensors")
    assert repr(style).startswith('Style(ink.png − "b"')
    assert [bound.family for bound in style.bindings] == [styled.architecture.name]
    plain = instantstyle.load(styled.recipe_fields["model"], plain=True)
    expected = [plain("a", seed=7, style=given).images[0].tobytes() for given in (style, None)]
    assert read_columns("portable.png", 1) == expected[:1]
    assert expected[0] != expected[1]


@pytest.mark.slow
def test_the_loop_reports_each_step_and_leaves_the_pipeline_as_it_was(run_example, capsys):
    styled = run_example("own_loop.py", "a", "b", "--style", "ink.png")
    assert capsys.readouterr().out.count("latents of deviation") == 2 * 4
    call = dict(num_inference_steps=4, guidance_scale=1.0)
    expected = [styled(prompt, style="ink.png", scale=0.8, seed=7, **call).images[0] for prompt in "ab"]
    assert [read_columns(f"{prompt}.png", 1)[0] for prompt in "ab"] == [image.tobytes() for image in expected]


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """Every cell that ends with an expression shows an image or a style."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    (tmp_path / "ink.style.safetensors").write_bytes(b"of an earlier run")
    notebook = nbformat.read(EXAMPLES / "style_sheet.ipynb", as_version=4)
    assert all(cell.get("outputs", []) == [] for cell in notebook.cells), "commit the notebook without its outputs"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [{kind for output in cell.outputs for kind in output.get("data", {})} for cell in cells]
    assert sum("image/png" in kinds for kinds in shown) == 5
    assert sum("text/html" in kinds for kinds in shown) == 1


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
