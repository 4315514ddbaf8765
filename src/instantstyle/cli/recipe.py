"""`instantstyle recipe out.png`: the recipe of an image, or of a sweep's grid."""

import json
from pathlib import Path
from typing import Annotated

import typer

from . import options

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

EXAMPLES = (
    "instantstyle recipe rocket.png",
    "instantstyle recipe rocket.png --a1111",
)


def run(
    image: Annotated[
        Path | None, typer.Argument(help="A PNG, JPEG, WebP, GIF or MP4 that instantstyle wrote.")
    ] = None,
    a1111: Annotated[
        bool,
        typer.Option(
            "--a1111", help="Print it as the text that other front ends show.", rich_help_panel=options.OUTPUT
        ),
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of recipes.", rich_help_panel=options.OUTPUT)
    ] = False,
) -> None:
    """Print the recipe in an image as JSON; of a sweep's grid, its base recipe and its axes."""
    from ..errors import JobError
    from ..generation.sweep import read_grid
    from ..imaging.a1111 import format_a1111
    from ..imaging.png_metadata import read_recipe
    from ..recipe import Recipe

    if (image is None) != schema:
        raise JobError("Give the image whose recipe is to be printed, or --schema alone.")
    if schema:
        print(json.dumps({"$schema": _DIALECT, **Recipe.model_json_schema()}, indent=2, ensure_ascii=False))
    elif image:
        grid = read_grid(image)
        recipe = grid.base if grid else read_recipe(image)
        text = json.dumps(json.loads(grid.to_json()), indent=2) if grid else recipe.model_dump_json(indent=2)
        print(format_a1111(recipe) if a1111 else text)
