"""Restyling that keeps content: the settings of InstantStyle-Plus (arXiv 2407.00788) as fields of a recipe."""

from collections.abc import Mapping
from typing import Any

from ..imaging.control_image import START_STEPS, default_strength
from ..recipe import Recipe

KEEP_CONTENT: Mapping[str, object] = {"inversion": 3, "image_scale": 0.2, "scale": 1.2}
"""Fields of a recipe that keep content. The scales are those of the paper; it inverts with ReNoise, whose number of
evaluations docs/restyle.md measures."""


def fill_in(values: Mapping[str, Any], keep_content: bool) -> dict[str, Any]:
    """Fill in the settings of a restyled image that are left open.

    Args:
        values: Fields by name, None for those that are open; `model`, `strength` and `control` are among them.
        keep_content: Whether the image begins with its inversion and is a reference itself.

    Returns:
        The fields. There is a strength where the image does not begin with an inversion.

    Raises:
        InstantStyleError: The model cannot be found.
    """
    filled = dict(values)
    if keep_content:
        filled |= {name: value for name, value in KEEP_CONTENT.items() if values.get(name) is None}
    if values.get("control") is None:
        filled["control"] = _find_control(values["model"]) if keep_content else "none"
    if not filled.get("inversion") and values.get("strength") is None:
        filled["strength"] = default_strength(values["model"], filled["control"])
    return filled


def fill_in_start(recipe: Recipe) -> Recipe:
    """Return a recipe with the default strength and steps where it leaves those of its image to start from open."""
    if recipe.image is None:
        return recipe
    steps = recipe.num_inference_steps or START_STEPS.get(recipe.model)
    strength = recipe.strength
    if strength is None and not recipe.inversion:
        strength = default_strength(recipe.model, recipe.control)
    return recipe.replace(num_inference_steps=steps, strength=strength)


def _find_control(model: str) -> str:
    from ..models.image_to_image import find_control

    return find_control(model)
