"""`instantstyle recipe out.png`: what a picture was made of."""

from pathlib import Path
from typing import Annotated

import typer


def run(
    picture: Annotated[Path, typer.Argument(help="A PNG that instantstyle wrote.")],
    a1111: Annotated[bool, typer.Option("--a1111", help="As the text that other front ends show.")] = False,
) -> None:
    """Print the recipe that a picture carries, as JSON."""
    from ..pictures import read_recipe

    recipe = read_recipe(picture)
    print(recipe.a1111() if a1111 else recipe.model_dump_json(indent=2))
