"""Pictures side by side: the same recipe with one thing changed from one to the next."""

from ..errors import JobError
from ..generation.sweep import Grid
from ..generation.sweep_axis import SweepAxis
from ..recipe import Recipe
from .form_values import plain

SCALES = "scale=0.2:1.4:0.2"
"""From barely seen to where a reference's subject begins to come in (docs/evaluate.md)."""

Strip = list[tuple[str, Recipe]]
"""What stands under each picture, and its recipe."""


def compared(recipe: Recipe) -> Strip:
    """No reference · all blocks · style blocks · style blocks less the content, where any is taken out."""
    _check(recipe)
    whole = recipe.but(content=(), content_scale=None, removal=None)
    strip = [
        ("no reference", plain(recipe)),
        ("all", whole.but(blocks="all")),
        ("style", whole.but(blocks="style")),
    ]
    if not recipe.content and recipe.removal != "clean":
        return strip
    less = ", ".join(recipe.content) or "its tail"
    return [*strip, (f"style − {less}", recipe.but(blocks="style"))]


def swept(recipe: Recipe) -> Strip:
    """The same at every scale."""
    _check(recipe)
    grid = Grid(recipe, SweepAxis.parse(SCALES))
    return list(zip(grid.columns, grid.cells, strict=True))


def _check(recipe: Recipe) -> None:
    if not recipe.references:
        raise JobError("There is no reference to compare with; drop a picture, or pick a saved style.")
