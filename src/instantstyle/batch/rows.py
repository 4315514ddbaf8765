"""A row of a batch (one recipe, one image, one key), and how rows are grouped into batches."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from ..generation.model_parts import ModelParts
from ..recipe import Recipe
from ..recipe_types import RecipeFields
from ..utils.text import slug

Batch = Sequence["BatchRow"]
"""Rows that are generated in one call; they differ only in prompt and seed."""

_CHOSEN_FIELDS = (
    *("num_inference_steps", "guidance_scale", "content_scale", "removal", "mask_quantile"),
    *("colour_scale", "texture_scale", "colour_transfer_interval"),
    *("height", "width", "scheduler", "dtype", "strength"),
)
"""Fields that generating fills in where a row leaves them open."""


@dataclass(frozen=True)
class BatchRow:
    """A recipe to generate. The recipe identifies its image, not the row's position in a manifest."""

    recipe: Recipe
    location: str = ""
    """Where the row was read, for example `line 3`; used in messages only."""

    @cached_property
    def key(self) -> str:
        """SHA-256 of the recipe. A file counts by its content and its name, not by its folder."""
        recipe = self.recipe.map_files(lambda file: file.model_copy(update={"name": Path(file.name).name}))
        # Defaults are left out, so that adding a field to `Recipe` keeps the keys of existing ledgers.
        fields = recipe.model_dump(mode="json", exclude_defaults=True)
        return sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def key_of_image(self, made: Recipe) -> str:
        """Return the key of the row that an image answers, if it left open what this row leaves open.

        Args:
            made: The complete recipe that the image carries.

        Returns:
            `key` if the image is one of this row, else another key.
        """
        chosen: RecipeFields = {name: None for name in _CHOSEN_FIELDS if getattr(self.recipe, name) is None}
        if self.recipe.content_scale == "auto":
            chosen["content_scale"] = "auto"
        return BatchRow(made.replace(**chosen, versions={})).key

    @cached_property
    def file(self) -> str:
        """Name of the image file: words of the prompt, the seed and the first ten digits of the key."""
        # 40 characters stay below the limits of all file systems, even at four bytes each.
        words = slug(self.recipe.prompt, limit=40, fallback="picture")
        return f"{words}-{self.recipe.seed}-{self.key[:10]}.png"

    @cached_property
    def settings_key(self) -> str:
        """All of the recipe except prompt and seed; rows of one batch share it."""
        return self.recipe.replace(prompt="", seed=0).to_json()

    @property
    def model_key(self) -> tuple[object, ...]:
        """What of the recipe determines which model is loaded."""
        recipe = self.recipe
        return ModelParts.of(recipe), recipe.dtype, recipe.image is not None, recipe.control, bool(recipe.inversion)


def plan_batches(rows: Sequence[BatchRow], size: int) -> list[Batch]:
    """Group rows into batches.

    Args:
        rows: Rows in any order.
        size: Largest number of images that are generated at once. A row whose layout is held counts twice; one that
            shares attention is a batch of its own, in which the first image of its set is generated beside it.

    Returns:
        Batches grouped by model and, within a model, by settings; rows keep their order within a group.
    """
    models: dict[tuple[object, ...], dict[str, list[BatchRow]]] = {}
    for row in rows:
        models.setdefault(row.model_key, {}).setdefault(row.settings_key, []).append(row)
    groups = [group for settings in models.values() for group in settings.values()]
    return [batch for group in groups for batch in split_batch(group, _count_rows(group[0].recipe, size))]


def _count_rows(recipe: Recipe, size: int) -> int:
    """Return the number of rows with a recipe's settings of which the images, and those beside them, are `size`."""
    if recipe.shared:
        return 1
    return max(1, size // 2) if recipe.hold_layout else size


def split_batch(batch: Batch, size: int) -> Iterator[Batch]:
    """Yield consecutive parts of at most `size` rows."""
    return (batch[start : start + size] for start in range(0, len(batch), size))
