"""The table of options that fill the fields of a recipe."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from instantstyle.cli.recipe_options import RECIPE_OPTIONS, REQUIRED, build_recipe, recipe_fields
from instantstyle.errors import JobError
from instantstyle.recipe import FIELD_ALIASES, Recipe


def test_every_option_fills_a_field_of_a_recipe():
    fields = {FIELD_ALIASES.get(name, name) for name in RECIPE_OPTIONS if name != "weight"}
    # The image to start from is an argument of `restyle`; the rest is filled in when an image is generated.
    assert Recipe.model_fields.keys() - fields == {"image", "model_sha256", "version", "versions", "dtype"}
    assert fields <= Recipe.model_fields.keys()


def test_every_short_name_of_a_field_is_an_option():
    assert FIELD_ALIASES.keys() <= RECIPE_OPTIONS.keys()


def test_defaults_are_those_of_a_recipe():
    for name, option in RECIPE_OPTIONS.items():
        if option.default not in (None, REQUIRED):
            assert option.default == Recipe.model_fields[FIELD_ALIASES.get(name, name)].default, name


def test_options_that_are_not_given_are_left_out():
    values: dict[str, Any] = {"style": None, "content": [], "scale": 0.0, "negative": "", "seed": None}
    assert recipe_fields(values) == {"scale": 0.0, "negative_prompt": ""}


def test_values_are_converted_to_fields(tmp_path: Path):
    ink = tmp_path / "ink.png"
    Image.new("RGB", (8, 8)).save(ink)
    values: dict[str, Any] = {"prompt": "a", "style": [ink, ink], "weight": [1.0, 0.5], "mask": ink}
    recipe = build_recipe({**values, "content": ["a cat"], "guidance_interval": "0.2:0.8"}, strength=0.5)
    assert [(one.name, one.weight) for one in recipe.references] == [(str(ink), 1.0), (str(ink), 0.5)]
    assert recipe.mask is not None
    assert recipe.mask.sha256 == recipe.references[0].sha256
    assert (recipe.content, recipe.guidance_interval) == (("a cat",), (0.2, 0.8))
    assert recipe.strength == 0.5


def test_a_seed_is_random_unless_given():
    assert build_recipe({"prompt": "a"}).seed != build_recipe({"prompt": "a"}).seed
    assert build_recipe({"prompt": "a", "seed": 7}).seed == 7


def test_weights_must_match_the_references():
    with pytest.raises(JobError, match="2 --weight for 0 --style"):
        recipe_fields({"style": None, "weight": [1.0, 2.0]})
