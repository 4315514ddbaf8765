"""The verbs that only print: blocks, recipe, version; and the help of all verbs."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from instantstyle import __version__
from instantstyle.architectures import ARCHITECTURES
from instantstyle.imaging.png_metadata import save_png
from instantstyle.recipe import Recipe


def test_blocks_lists_each_block_with_its_roles(run):
    lines = run("blocks", "sdxl").out.splitlines()
    assert len([line for line in lines if not line.startswith("#")]) == 11
    assert ["up_blocks.0.attentions.1", "10", "layers", "style,", "strong-style"] in [line.split() for line in lines]
    assert any(line.startswith("# ease-in: ") for line in lines)


def test_blocks_lists_every_selection_that_is_no_single_block(run):
    for name in ("mini", "sdxl", "sd15", "flux"):
        listed = {line[2:].partition(":")[0] for line in run("blocks", name).out.splitlines() if line.startswith("# ")}
        architecture = next(each for each in ARCHITECTURES if each.name == name)
        named = {*architecture.roles, *architecture.weights, *architecture.modes, "all"}
        named |= {"style+layout"} if {"style", "layout"} <= architecture.roles.keys() else set()
        assert listed == named, name
        for spec in listed:
            architecture.select(spec)
    assert {"style+layout", "precise-style", "precise-layout", "all"} <= {
        line[2:].partition(":")[0] for line in run("blocks", "mini").out.splitlines()
    }
    assert "precise-style" in json.loads(run("blocks", "mini", "--json").out)["modes"]


def test_an_unknown_network_is_refused_with_a_suggestion(run):
    done = run("blocks", "sdlx")
    assert done.code == 2
    assert "Did you mean sdxl?" in done.err


def test_recipe_prints_the_recipe_of_an_image(run, tmp_path):
    recipe = Recipe(prompt="a rocket", seed=3)
    save_png(Image.new("RGB", (8, 8)), tmp_path / "a.png", recipe)
    assert Recipe.model_validate(json.loads(run("recipe", "a.png").out)) == recipe
    assert run("recipe", "a.png", "--a1111").out.startswith("a rocket\nSeed: 3")


@pytest.mark.parametrize(
    ("verb", "formats"),
    [
        ("recipe", "PNG, JPEG, WebP, GIF or MP4"),
        ("reproduce", "PNG, JPEG, WebP, GIF or MP4"),
        ("explain", "PNG, JPEG or WebP"),
    ],
)
def test_files_without_a_recipe_are_told_from_those_that_may_carry_one(run, tmp_path, verb, formats):
    (tmp_path / "ink.style.safetensors").write_bytes(b"style")
    (tmp_path / "notes.txt").write_bytes(b"notes")
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.bmp")
    style, notes, plain = (run(verb, name) for name in ("ink.style.safetensors", "notes.txt", "plain.bmp"))
    assert (style.code, style.err.count("\n")) == (2, 1)
    assert "is a saved style, which carries no recipe; describe it with `instantstyle styles show`" in style.err
    assert f"use {formats}." in notes.err
    assert "only images (PNG, JPEG, WebP, GIF or MP4) as instantstyle wrote them do" in plain.err


def test_version_prints_this_package_and_its_libraries(run):
    assert run("version").out.startswith(f"instantstyle {__version__}\ntorch ")


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "instantstyle", "version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"instantstyle {__version__}\n")


@pytest.mark.parametrize(
    "verb",
    [
        *[
            "",
            "generate",
            "restyle",
            "style",
            "mix",
            "demo",
            "models",
            "doctor",
            "blocks",
            "convert",
            "recipe",
        ],
        *["version", "styles", "styles list", "styles add", "styles show", "styles remove"],
    ],
)
def test_every_verb_has_a_help_text(run, verb):
    done = run(*verb.split(), "--help")
    assert done.code == 0
    assert "Usage" in done.out
