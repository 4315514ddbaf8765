"""A request is validated before a model is loaded: its files, its blocks, and options without effect."""

import pytest
from PIL import Image

from instantstyle.errors import BlockError, ImageError, JobError
from instantstyle.generation.validate import validate, validate_blocks, validate_inputs
from instantstyle.recipe import Recipe

PLAIN = Recipe(prompt="a", seed=1)


@pytest.fixture(autouse=True)
def ink(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("ink.png")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("references", [{"name": "nowhere.png"}]),
        ("layout_references", [{"name": "nowhere.png"}]),
        ("negative_references", [{"name": "nowhere.png"}]),
        ("mask", {"name": "nowhere.png"}),
        ("image", {"name": "nowhere.png"}),
    ],
)
def test_every_file_is_read(field, value):
    recipe = Recipe.model_validate({**PLAIN.model_dump(), "references": [{"name": "ink.png"}], field: value})
    with pytest.raises(ImageError, match=r"nowhere\.png does not exist"):
        validate(recipe)


def test_content_without_a_reference_is_accepted_only_beside_a_cell_with_one_or_in_an_existing_recipe():
    without = PLAIN.replace(content=("a cat",))
    with pytest.raises(JobError, match="content can only act on the style of a reference"):
        validate(without, PLAIN)
    validate(without, PLAIN.replace(references=[{"name": "ink.png"}]))
    validate_inputs(without)


def test_blocks_are_looked_up_if_the_model_is_an_architecture():
    validate_blocks("stile", "some/model")
    with pytest.raises(BlockError, match="Did you mean style"):
        validate_blocks("stile", "sdxl")
    with pytest.raises(BlockError, match="Did you mean style"):
        validate(PLAIN.replace(blocks="stile", model="mini", references=[{"name": "ink.png"}]))
