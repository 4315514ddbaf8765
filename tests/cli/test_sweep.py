"""`instantstyle sweep`: a grid, and errors before a model is loaded."""

import json
import os
from inspect import signature

import pytest
from PIL import Image

from instantstyle.cli import generate
from instantstyle.cli import sweep as cli_sweep
from instantstyle.generation.sweep import read_grid

from ..unet.test_probe_file import STYLE, probe_file
from .test_generate import SHORT, refused


@pytest.fixture
def sweep(run, model, reference, tmp_path):
    reference.save(tmp_path / "ink.png")

    def command(*words: object):
        return run("sweep", "a rocket", "--model", model, *SHORT, *words)

    return command


def test_a_grid_is_written_and_its_path_printed(sweep, tmp_path):
    axes = ("--x", "scale=0.5:1:0.5", "--y", "blocks=style,layout,all")
    done = sweep("--style", "ink.png", *axes, "-o", "grid.png")
    assert (done.code, done.out) == (0, "grid.png\n")
    # In a pipe, as `probe` and `evaluate` do.
    assert done.err.splitlines() == [f"{image} of 6 images" for image in range(1, 7)]
    assert sorted(os.listdir(tmp_path)) == ["grid.png", "ink.png"]
    grid = read_grid("grid.png")
    assert grid
    assert (grid.column_labels, grid.row_labels) == (
        ["scale 0.5", "scale 1"],
        ["blocks style", "blocks layout", "blocks all"],
    )
    assert (grid.base.prompt, grid.base.seed) == ("a rocket", 7)


def test_the_recipe_verb_prints_the_axes_of_a_grid(sweep, run):
    sweep("--style", "ink.png", "--x", "steps=1,2")
    grid = json.loads(run("recipe", "sweep.png").out)
    assert grid["x"] == {"field": "num_inference_steps", "values": [1, 2]}
    assert run("recipe", "sweep.png", "--a1111").out.startswith("a rocket\n")


def test_it_has_every_option_of_generate():
    expected = signature(generate.run).parameters.keys() - {"number", "plan"}
    assert expected == signature(cli_sweep.run).parameters.keys() - {"x", "y"}


def test_options_of_generate_apply_to_every_cell(sweep, tmp_path):
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    words = ("--layout", "teal.png", "--negative-style", "teal.png", "--mask", "teal.png", "--end", 0.9)
    done = sweep("--style", "ink.png", *words, "--content", "a cat", "--verbose", "--x", "start=0,0.5")
    assert done.code == 0
    assert "ink.png: 112×80" in done.err
    grid = read_grid("sweep.png")
    assert grid
    assert (grid.base.end, grid.base.content) == (0.9, ("a cat",))


def test_every_verb_with_blocks_accepts_a_probe_file(sweep, run, model, tmp_path):
    found = probe_file(tmp_path / "probe.json")
    assert sweep("--style", "ink.png", "--blocks", found, "--x", "scale=1").code == 0
    grid = read_grid("sweep.png")
    assert grid
    assert grid.base.blocks == "+".join(STYLE)
    words = ("--style", "ink.png", "--model", model, "--steps", 2, "--blocks", found)
    assert run("generate", "a", *words, "--height", 16, "--width", 16, "-o", "a.png").code == 0
    assert run("restyle", "ink.png", *words, "-o", "b.png").code == 0
    assert [json.loads(run("recipe", name).out)["blocks"] for name in ("a.png", "b.png")] == ["+".join(STYLE)] * 2
    done = run("style", "ink.png", "--bind", model, "--blocks", found, "-o", "ink.style.safetensors")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--x", "skale=1"), "Did you mean scale?"),
        (("--x", "model=mini,sdxl"), "one model generates the whole grid"),
        (("--x", "scale=0:1"), "give first:last:step"),
        (("--x", "scale=1,99"), "scale is '99'"),
        (("--x", "scale=1", "--y", "scale=2"), "Both axes sweep scale"),
        (("--x", "start=0,0.9", "--y", "end=0.5,1"), "begin at 0.9 of the steps and end at 0.5"),
        (("--x", "blocks=style,nowhere.json"), "nowhere.json does not exist"),
        (("--x", "style=ink.png,nowhere.png"), "nowhere.png does not exist"),
        (("--x", "scale=1", "-o", "grid.jpg"), "should end in .png"),
        (("--x", "scale=1", "-o", "ink.png"), "exists already"),
    ],
)
def test_invalid_axes_are_refused_before_a_model_is_loaded(sweep, tmp_path, words, reason):
    done = sweep("--style", "ink.png", "--model", tmp_path / "no-model", *words)
    assert reason in refused(done)
    assert os.listdir(tmp_path) == ["ink.png"]


def test_a_sweep_over_a_field_of_the_style_needs_a_reference(sweep):
    assert "add --style" in refused(sweep("--x", "scale=0,1"))


def test_a_missing_axis_is_named(sweep):
    done = sweep("--style", "ink.png")
    assert done.code == 2
    assert "--x" in done.err
