"""docs/recipe.schema.json is the output of `instantstyle recipe --schema`."""

import json
import sys
from pathlib import Path

import pytest

from instantstyle.cli import main
from instantstyle.recipe import Recipe

SCHEMA = Path(__file__).parents[2] / "docs" / "recipe.schema.json"


def test_the_published_schema_is_current(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["instantstyle", "recipe", "--schema"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json.loads(capsys.readouterr().out), (
        "update it: instantstyle recipe --schema > docs/recipe.schema.json"
    )


def test_the_schema_has_its_version_and_every_field():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert schema["properties"]["version"]["const"] == Recipe.model_fields["version"].default
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert schema["required"] == ["prompt", "seed"]
