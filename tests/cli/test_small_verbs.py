"""The verbs that only tell: blocks, recipe, version."""

import json

import pytest
from PIL import Image

from instantstyle import __version__
from instantstyle.imaging.png_metadata import save_png
from instantstyle.recipe import Recipe


def test_blocks_lists_each_block_with_its_role(run):
    lines = run("blocks", "sdxl").out.splitlines()
    assert len([line for line in lines if not line.startswith("#")]) == 11
    assert ["up_blocks.0.attentions.1", "style,", "strong-style"] in [line.split() for line in lines]


def test_blocks_of_an_unknown_network_suggests_a_known_one(run):
    done = run("blocks", "sdlx")
    assert done.code == 2
    assert "Did you mean sdxl?" in done.err


def test_recipe_prints_what_the_picture_carries(run, tmp_path):
    recipe = Recipe(prompt="a rocket", seed=3)
    save_png(Image.new("RGB", (8, 8)), tmp_path / "a.png", recipe)
    assert Recipe.model_validate(json.loads(run("recipe", "a.png").out)) == recipe
    assert run("recipe", "a.png", "--a1111").out.startswith("a rocket\nSeed: 3")


def test_version_names_us_and_what_we_stand_on(run):
    assert run("version").out.startswith(f"instantstyle {__version__}\ntorch ")


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
def test_every_verb_explains_itself(run, verb):
    done = run(*verb.split(), "--help")
    assert done.code == 0
    assert "Usage" in done.out
