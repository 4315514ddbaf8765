"""The verbs that only print: blocks, recipe, version; and the help of all verbs."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from instantstyle import __version__
from instantstyle.imaging.png_metadata import save_png
from instantstyle.recipe import Recipe


def test_blocks_lists_each_block_with_its_roles(run):
    lines = run("blocks", "sdxl").out.splitlines()
    assert len([line for line in lines if not line.startswith("#")]) == 11
    assert ["up_blocks.0.attentions.1", "10", "layers", "style,", "strong-style"] in [line.split() for line in lines]
    assert any(line.startswith("# ease-in: ") for line in lines)


def test_an_unknown_network_is_refused_with_a_suggestion(run):
    done = run("blocks", "sdlx")
    assert done.code == 2
    assert "Did you mean sdxl?" in done.err


def test_recipe_prints_the_recipe_of_an_image(run, tmp_path):
    recipe = Recipe(prompt="a rocket", seed=3)
    save_png(Image.new("RGB", (8, 8)), tmp_path / "a.png", recipe)
    assert Recipe.model_validate(json.loads(run("recipe", "a.png").out)) == recipe
    assert run("recipe", "a.png", "--a1111").out.startswith("a rocket\nSeed: 3")


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
