"""From the fields of a row to its recipe: files are found and hashed, blocks resolved, and everything validated."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InstantStyleError, JobError, ModelError
from ..generation.idle_fields import (
    find_idle_fields,
    find_idle_with_files,
    refuse_animation,
    refuse_fields,
    refuse_with_files,
)
from ..generation.load import check_redux_files, is_plain
from ..generation.model_parts import ModelParts
from ..generation.request_checks import check_colours, check_references, check_text, check_weights
from ..generation.sources import SourceCache
from ..generation.validate import validate_inputs
from ..generation.weights import parse_lora, weights_sha256
from ..recipe import ANIMATION_FIELDS, BLOCK_FIELDS, FILE_FIELDS, REDUX_FIELDS, WEIGHT_FIELDS, Recipe
from ..recipe_types import Reference
from ..unet.blocks import BlockSpec
from ..unet.probe_file import names_probe_file, resolve_block_spec
from ..utils.parsed_values import MAX_VALUES
from .manifest_formats import FILE_LIST_FIELDS, ManifestRow
from .rows import BatchRow
from .sets import check_set

_RESULT_FIELDS: Mapping[str, object] = {"versions": {}}
"""Fields that a saved recipe records and a row cannot request."""


@dataclass
class RowBuilder:
    """Builds and validates rows; each file and each combination of settings is checked once."""

    defaults: Mapping[str, object]
    folder: Path
    sources: SourceCache = field(default_factory=SourceCache)
    settings_errors: dict[str, str | None] = field(default_factory=dict)
    resolved_blocks: dict[object, BlockSpec] = field(default_factory=dict)
    weights: dict[tuple[str, str], str | None] = field(default_factory=dict)
    """SHA-256 of each file of weights, by field and name."""
    idle_defaults: set[str] | None = None
    """Fields of `defaults` without effect in every row so far; None before the first row."""

    def build(self, manifest_row: ManifestRow) -> BatchRow:
        """Build a row; raises `InstantStyleError` with everything that is wrong with it."""
        if manifest_row.error:
            raise JobError(manifest_row.error)
        recipe = self._build_recipe(manifest_row.fields)
        for name in BLOCK_FIELDS:
            if names_probe_file(blocks := getattr(recipe, name)):
                found = self._resolve_blocks(blocks, recipe.model, name in manifest_row.fields, name in REDUX_FIELDS)
                recipe = recipe.replace(**{name: found})
        for place, lora in enumerate(recipe.loras):
            if lora.blocks is not None and names_probe_file(lora.blocks):
                found = self._resolve_blocks(lora.blocks, recipe.model, "loras" in manifest_row.fields)
                resolved = {**lora.model_dump(), "blocks": found}
                recipe = recipe.replace(loras=(*recipe.loras[:place], resolved, *recipe.loras[place + 1 :]))
        self._check_effects(recipe, manifest_row.fields)
        row = BatchRow(recipe, manifest_row.location)
        if row.settings_key not in self.settings_errors:
            self.settings_errors[row.settings_key] = self._find_settings_error(row.recipe)
        if error := self.settings_errors[row.settings_key]:
            raise JobError(error)
        return row

    def _check_effects(self, recipe: Recipe, fields: Mapping[str, object]) -> None:
        """Refuse fields that the row has itself and that have no effect; note those of the defaults."""
        check_colours(recipe, self.sources)
        check_references(recipe, self.sources)
        idle = find_idle_fields(recipe)
        # The recipe of an image, which has versions, records sizes, and may record idle fields.
        if not fields.get("versions"):
            refuse_fields([name for name in idle if name in fields], recipe.second_adapter is not None)
            refuse_with_files([name for name in find_idle_with_files(recipe, self.sources) if name in fields])
            check_weights(recipe)
            check_text(recipe)
            check_set(recipe)
        defaults = {name for name in idle if name not in fields}
        self.idle_defaults = defaults if self.idle_defaults is None else self.idle_defaults & defaults

    def _build_recipe(self, fields: Mapping[str, object]) -> Recipe:
        fields = dict(fields)
        if "style" in fields:
            if "references" in fields:
                raise JobError("style is another name for references; give only one of them.")
            fields["references"] = fields.pop("style")
        given = {**self.defaults, **fields}
        refuse_animation([name for name in ANIMATION_FIELDS if given.get(name)], "a batch")
        errors: list[str] = []
        # The files are resolved before the recipe is validated, so that errors of both are reported together.
        for name in (*WEIGHT_FIELDS, *FILE_FIELDS):
            value = fields.get(name)
            if value is None:
                continue
            if name not in (*FILE_LIST_FIELDS, "loras"):
                fields[name] = self._resolve_file(name, value, errors)
                continue
            values = value if isinstance(value, list | tuple) else [value]
            # More are an error of the recipe, and would be searched for a long time.
            if len(values) <= MAX_VALUES:
                fields[name] = [self._resolve_file(name, each, errors) for each in values]
        if isinstance(fields.get("content"), str):
            fields["content"] = [fields["content"]]
        try:
            recipe = Recipe.model_validate({**self.defaults, **fields, **_RESULT_FIELDS})
        except JobError as error:
            raise JobError(" ".join([*errors, str(error)])) from None
        from ..models.single_file import find_digest

        digest = None
        try:
            digest = find_digest(recipe.model, recipe.model_sha256)
        except ModelError as error:
            errors.append(str(error))
        if errors:
            raise JobError(" ".join(errors))
        return recipe.replace(model_sha256=digest)

    def _resolve_file(self, field: str, value: object, errors: list[str]) -> object:
        """Return an entry with path and SHA-256; append what is wrong with its file to `errors`.

        Args:
            field: The field of the recipe: one of `FILE_FIELDS` and `WEIGHT_FIELDS`.
            value: The name of a file, or an entry as the recipe has them.
            errors: Descriptions of what is wrong; added to.
        """
        entry = (parse_lora(value) if field == "loras" else {"name": value}) if isinstance(value, str) else value
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            return value  # the validation of `Recipe` describes the error
        try:
            Reference.model_validate({"name": entry["name"]})
        except JobError:
            return entry
        # Weights may be a folder. Unlike those of `Path`, these raise nothing where a folder cannot be read.
        is_there = os.path.exists if field in WEIGHT_FIELDS else os.path.isfile
        path = self.folder / entry["name"]
        name = str(path) if is_there(path) else entry["name"]
        try:
            found = self._find_sha256(field, name)
        except InstantStyleError as error:
            errors.append(str(error))
            return entry
        if entry.get("sha256") not in (None, found):
            errors.append(f"{name} is another file than the one requested (its sha256 is {str(found)[:12]}…).")
        return {**entry, "name": name, "sha256": found}

    def _find_sha256(self, field: str, name: str) -> str | None:
        """Compute the SHA-256 of a file once; None for the adapter of a model of the registry."""
        if field in FILE_FIELDS:
            return self.sources.resolve(name).sha256
        if (field, name) not in self.weights:
            self.weights[field, name] = weights_sha256(field, name)
        return self.weights[field, name]

    def _resolve_blocks(self, blocks: BlockSpec, model: str, in_manifest: bool, is_redux: bool = False) -> BlockSpec:
        """Replace probe files by what they say now, so that the row's key depends on that.

        Args:
            blocks: Blocks of a recipe that name a probe file.
            model: The model of the recipe.
            in_manifest: Whether the row names it, so that its path may be relative to the manifest's folder.
            is_redux: Whether they are the blocks of Redux.
        """
        key = json.dumps(blocks), model, in_manifest, is_redux
        if key not in self.resolved_blocks:
            from ..models.network import find_architecture

            # A probe for the blocks of Redux may be of a network with another kind of adapter.
            architecture = None if is_redux else find_architecture(model)
            folder = self.folder if in_manifest else None
            self.resolved_blocks[key] = resolve_block_spec(blocks, architecture, folder)
        return self.resolved_blocks[key]

    def _find_settings_error(self, recipe: Recipe) -> str | None:
        """Validate everything that does not depend on prompt and seed."""
        try:
            validate_inputs(recipe, sources=self.sources)
            from ..models.load import validate_model

            check_redux_files(recipe)
            validate_model(recipe.model, **ModelParts.of(recipe).adapters, plain=is_plain(recipe, self.sources))
        except InstantStyleError as error:
            return str(error)
        return None
