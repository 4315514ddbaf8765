"""Comparisons: one recipe with a single setting changed from image to image."""

from ..errors import JobError
from ..generation.sweep import Grid
from ..generation.sweep_axis import SweepAxis
from ..recipe import Recipe
from .form_values import remove_references

SCALES = "scale=0.2:1.4:0.2"
"""From a barely visible style to scales at which content begins to leak (docs/evaluate.md)."""

Comparison = list[tuple[str, Recipe]]
"""A label for each image, and its recipe."""


def compare_parts(recipe: Recipe) -> Comparison:
    """Build recipes that show what each part of the method contributes.

    Args:
        recipe: A recipe with at least one reference.

    Returns:
        No reference, all blocks, style blocks; and, if content is removed, style blocks with content removal.

    Raises:
        JobError: The recipe has no reference.
    """
    _require_reference(recipe)
    with_content = recipe.replace(content=(), content_scale=None, removal=None)
    comparison = [
        ("no reference", remove_references(recipe)),
        ("all", with_content.replace(blocks="all")),
        ("style", with_content.replace(blocks="style")),
    ]
    if recipe.content:
        comparison.append((f"style − {', '.join(recipe.content)}", recipe.replace(blocks="style")))
    elif recipe.removal == "clean":
        comparison.append(("style, cleaned", recipe.replace(blocks="style")))
    return comparison


def sweep_scale(recipe: Recipe) -> Comparison:
    """Build one recipe for each scale in `SCALES`.

    Raises:
        JobError: The recipe has no reference.
    """
    _require_reference(recipe)
    grid = Grid(recipe, SweepAxis.parse(SCALES))
    return list(zip(grid.column_labels, grid.cells, strict=True))


def _require_reference(recipe: Recipe) -> None:
    if not recipe.references:
        raise JobError("There is no reference to compare with; drop an image, or select a saved style.")
