"""docs/recipe.schema.json says what the program says: `instantstyle recipe --schema` writes it."""

import json
import sys
from pathlib import Path

import pytest

from instantstyle.cli import main
from instantstyle.recipe import Recipe

SCHEMA = Path(__file__).parents[2] / "docs" / "recipe.schema.json"


def test_the_published_schema_is_that_of_this_version(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["instantstyle", "recipe", "--schema"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json.loads(capsys.readouterr().out), (
        "write it anew: instantstyle recipe --schema > docs/recipe.schema.json"
    )


def test_it_names_its_version_and_every_field():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert schema["properties"]["version"]["const"] == Recipe.model_fields["version"].default
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert schema["required"] == ["prompt", "seed"]
