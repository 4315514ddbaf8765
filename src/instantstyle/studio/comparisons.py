"""Comparisons: one recipe with a single setting changed from image to image."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import JobError
from ..generation.sweep import Grid
from ..generation.sweep_axis import SweepAxis
from ..recipe import Recipe
from ..recipe_types import WORDLESS
from .form_values import remove_references

SCALES = "scale=0.2:1.4:0.2"
"""From a barely visible style to scales at which content begins to leak (docs/evaluate.md)."""


@dataclass(frozen=True)
class Comparison:
    """Recipes that differ in one setting, with a label for each image."""

    labels: Sequence[str]
    recipes: Sequence[Recipe]
    displayed: int
    """Index of the image that is displayed large: that of the form's own settings, or of the nearest ones."""


def compare_parts(recipe: Recipe) -> Comparison:
    """Build recipes that show what each part of the method contributes.

    Args:
        recipe: A recipe with at least one reference.

    Returns:
        No reference, all blocks, style blocks; and, if content is removed, style blocks with content removal.
        The last one is displayed large.

    Raises:
        JobError: The recipe has no reference.
    """
    _require_reference(recipe)
    removal = {"content": (), "content_references": (), "content_scale": None, "removal": None, "mask_quantile": None}
    with_content = recipe.replace(**removal)
    parts = {
        "no reference": remove_references(recipe),
        "all blocks": with_content.replace(blocks="all"),
        "style blocks": with_content.replace(blocks="style"),
    }
    if recipe.content or recipe.content_references or recipe.removal in WORDLESS:
        parts["content removed"] = recipe.replace(blocks="style")
    return Comparison([*parts], [*parts.values()], len(parts) - 1)


def sweep_scale(recipe: Recipe) -> Comparison:
    """Build one recipe for each scale in `SCALES`; that with the nearest scale to the recipe's is displayed large.

    Raises:
        JobError: The recipe has no reference.
    """
    _require_reference(recipe)
    recipes = Grid(recipe, SweepAxis.parse(SCALES)).cells
    nearest = min(range(len(recipes)), key=lambda index: abs(recipes[index].scale - recipe.scale))
    return Comparison([f"strength {cell.scale:g}" for cell in recipes], recipes, nearest)


def _require_reference(recipe: Recipe) -> None:
    if not recipe.references:
        raise JobError("There is no reference to compare with; drop an image, or select a saved style.")
