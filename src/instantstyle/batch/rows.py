"""A row of a batch: one recipe, one picture, one key; and how rows are laid together in batches."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..recipe import Recipe

Batch = Sequence["BatchRow"]
"""Rows that are drawn in one call: they differ in prompt and seed alone."""

NAMED = ("references", "layout_references", "negative_references", "mask", "image")
"""Fields of a recipe that name files."""


@dataclass(frozen=True)
class BatchRow:
    """What is asked for. A picture is known by what it is made of, wherever its row stands."""

    recipe: Recipe
    place: str = ""
    """Where it was asked for: 'line 3'."""

    @cached_property
    def key(self) -> str:
        """SHA-256 of the recipe; a reference counts by its content and its file's name, not by its folder."""
        # Without defaults, so that a key stays when recipes learn new fields.
        fields = self.recipe.model_dump(mode="json", exclude_defaults=True)
        for name in NAMED:
            if name in fields:
                fields[name] = _without_folders(fields[name])
        return sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    @cached_property
    def file(self) -> str:
        """The picture's name: for people the words and the seed, for us a piece of the key."""
        # 40: far from any file system's limit, even where each letter takes four bytes.
        words = re.sub(r"\W+", "-", self.recipe.prompt.lower()).strip("-")[:40] or "picture"
        return f"{words}-{self.recipe.seed}-{self.key[:10]}.png"

    @cached_property
    def settings_key(self) -> str:
        """What rows of one batch have in common: all but prompt and seed."""
        return self.recipe.but(prompt="", seed=0).to_json()

    @property
    def model(self) -> tuple[object, ...]:
        """What is loaded for it."""
        recipe = self.recipe
        parts = recipe.model, recipe.adapter, recipe.image_encoder, recipe.dtype
        return *parts, recipe.image is not None, recipe.control


def planned(rows: Sequence[BatchRow], size: int) -> list[Batch]:
    """Batches of at most `size` rows: model by model, in it style by style, in the rows' own order."""
    models: dict[tuple[object, ...], dict[str, list[BatchRow]]] = {}
    for row in rows:
        models.setdefault(row.model, {}).setdefault(row.settings_key, []).append(row)
    return [batch for styles in models.values() for same in styles.values() for batch in cut(same, size)]


def cut(batch: Batch, size: int) -> Iterator[Batch]:
    """Pieces of at most `size` rows."""
    return (batch[start : start + size] for start in range(0, len(batch), size))


def _without_folders(named: Any) -> Any:
    if isinstance(named, list):
        return [_without_folders(one) for one in named]
    return {**named, "name": Path(named["name"]).name}
