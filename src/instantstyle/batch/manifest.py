"""The rows of a batch: read from a JSONL, CSV or YAML manifest, or a product of styles, prompts and seeds.

A row is a recipe in which most fields may be left out. All rows are validated before any image is generated;
the errors of all invalid rows are reported together.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.style_library import SUFFIX as STYLE_SUFFIX
from ..core.style_library import find_style_file
from ..errors import InstantStyleError, JobError
from ..generation.idle_fields import find_idle_fields, refuse_animation, refuse_fields
from ..generation.inputs import IMAGE_SUFFIXES, list_images_with_content
from ..generation.load import is_plain
from ..generation.sources import SourceCache
from ..generation.validate import validate_inputs
from ..generation.weights import parse_lora, weights_sha256
from ..recipe import ANIMATION_FIELDS, BLOCK_FIELDS, FILE_FIELDS, WEIGHT_FIELDS, Recipe, Reference
from ..unet.blocks import BlockSpec
from ..unet.probe_file import names_probe_file, resolve_block_spec
from ..utils.parsed_values import MAX_VALUES
from ..utils.text import cut, join_first, one_line, shorten
from .manifest_formats import FILE_LIST_FIELDS, ManifestRow, read_rows
from .rows import BatchRow

_RESULT_FIELDS: Mapping[str, object] = {"versions": {}}
"""Fields that a saved recipe records and a row cannot request."""

MAX_ROWS = 1_000_000
"""Largest number of rows of a batch, and of its seeds."""

MAX_ERROR_LENGTH = 600
"""Largest number of characters of the errors of one row."""


class ManifestError(JobError):
    """Some rows are invalid; nothing was generated. The message has the errors of the first ten.

    Args:
        source: The manifest, or what the rows were built from.
        errors: A line for each invalid row, with its location.
        count: Number of all rows.
    """

    def __init__(self, source: str, errors: Sequence[str], count: int) -> None:
        self.errors = list(errors)
        self.summary = f"{source}: {len(errors)} of {count} rows are invalid; no image was generated."
        super().__init__(f"{self.summary} {join_first(errors, separator=' ')}")


def read_manifest(path: Path, defaults: Mapping[str, object] | None = None) -> list[BatchRow]:
    """Read and validate a manifest.

    Args:
        path: A .jsonl, .csv or .yaml file with a recipe in each row. Relative paths in it are resolved
            against its folder first, then against the working directory.
        defaults: Fields of a recipe for rows that leave them out.

    Returns:
        The rows, with the SHA-256 of every file that they name, and with block names instead of probe files.

    Raises:
        ManifestError: At least one row is invalid.
        JobError: The file cannot be read or has no rows.
    """
    return _build_rows(str(path), read_rows(path), defaults or {}, path.parent)


def cross_product(
    styles: Sequence[Path],
    prompts: Sequence[str],
    seeds: Sequence[int],
    defaults: Mapping[str, object] | None = None,
) -> list[BatchRow]:
    """Combine every style with every prompt and every seed.

    Args:
        styles: Images, style files, names of library styles, or folders of images and style files. The
            content of an image is read from `contents.json` or `contents.csv` beside it. Without styles,
            those of `defaults` are used.
        prompts: Prompts.
        seeds: Seeds.
        defaults: Fields of a recipe that hold for every row.

    Returns:
        The rows, ordered by style, prompt and seed.

    Raises:
        ManifestError: At least one row is invalid.
        JobError: There are no rows, or more than `MAX_ROWS`.
    """
    named_fields = list(_style_fields(styles))
    _check_count("combinations of style, prompt and seed", len(named_fields) * len(prompts) * len(seeds))
    rows = [
        ManifestRow(
            f"{name or 'no style'} × {shorten(prompt)} × seed {shorten(seed)}",
            {**fields, "prompt": prompt, "seed": seed},
        )
        for name, fields in named_fields
        for prompt in prompts
        for seed in seeds
    ]
    return _build_rows("styles × prompts × seeds", rows, defaults or {}, Path())


def parse_seeds(text: str) -> list[int]:
    """Parse seeds.

    Args:
        text: An inclusive range such as `1:10`, or a list such as `1,5,9`.

    Returns:
        The seeds in the given order.

    Raises:
        JobError: The text has neither form, or stands for more than `MAX_ROWS` seeds.
    """
    try:
        numbers = [int(part) for part in text.replace(":", ",").split(",")]
    # Also for numbers of more digits than Python converts.
    except ValueError:
        numbers = []
    if ":" in text and len(numbers) == 2 and "," not in text and numbers[0] <= numbers[1]:
        # Counted before they are listed: a range is a short text for any number of seeds.
        _check_count("seeds", numbers[1] - numbers[0] + 1)
        return list(range(numbers[0], numbers[1] + 1))
    if not numbers or ":" in text:
        raise JobError(f"seeds are {shorten(text)}; give first:last such as 1:10, or a list such as 1,5,9.")
    _check_count("seeds", len(numbers))
    return numbers


def _check_count(name: str, count: int) -> None:
    if count > MAX_ROWS:
        found = f"{count:,}" if count < 10**30 else "far too many"
        raise JobError(f"There are {found} {name}; a batch has at most {MAX_ROWS:,} rows. Use several batches.")


def _style_fields(sources: Sequence[Path]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield the name of each style and the fields of a row that uses it."""
    if not sources:
        yield "", {}
    for source in sources:
        if os.path.isdir(source):
            style_files = sorted(source.glob(f"*{STYLE_SUFFIX}"))
            has_images = any(path.suffix.lower() in IMAGE_SUFFIXES for path in source.iterdir())
        else:
            style_files, has_images = [source] if find_style_file(source) else [], False
        yield from ((path.name, {"references": [str(path)]}) for path in style_files)
        if not style_files or has_images:
            for path, content in list_images_with_content([source]):
                yield path.name, {"references": [str(path)], **({"content": [content]} if content else {})}


@dataclass
class _RowBuilder:
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
            if names_probe_file(getattr(recipe, name)):
                recipe = recipe.replace(**{name: self._resolve_blocks(recipe, name, name in manifest_row.fields)})
        self._check_effects(recipe, manifest_row.fields)
        row = BatchRow(recipe, manifest_row.location)
        if row.settings_key not in self.settings_errors:
            self.settings_errors[row.settings_key] = self._find_settings_error(row.recipe)
        if error := self.settings_errors[row.settings_key]:
            raise JobError(error)
        return row

    def _check_effects(self, recipe: Recipe, fields: Mapping[str, object]) -> None:
        """Refuse fields that the row has itself and that have no effect; note those of the defaults."""
        idle = find_idle_fields(recipe)
        # The recipe of an image, which has versions, records sizes, and may record idle fields.
        if not fields.get("versions"):
            refuse_fields([name for name in idle if name in fields])
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
        self._resolve_weights(fields, errors)
        # The files are resolved before the recipe is validated, so that errors of both are reported together.
        for name in FILE_FIELDS:
            value = fields.get(name)
            if name in FILE_LIST_FIELDS and value is not None:
                values = value if isinstance(value, list | tuple) else [value]
                # More are an error of the recipe, and would be searched for a long time.
                if len(values) <= MAX_VALUES:
                    fields[name] = [self._resolve_file(file, errors) for file in values]
            elif value is not None:
                fields[name] = self._resolve_file(value, errors)
        if isinstance(fields.get("content"), str):
            fields["content"] = [fields["content"]]
        try:
            recipe = Recipe.model_validate({**self.defaults, **fields, **_RESULT_FIELDS})
        except JobError as error:
            raise JobError(" ".join([*errors, str(error)])) from None
        if errors:
            raise JobError(" ".join(errors))
        return recipe

    def _resolve_weights(self, fields: dict[str, Any], errors: list[str]) -> None:
        """Replace the files of weights in a row by entries with path and SHA-256; append what is wrong to `errors`."""
        for name in WEIGHT_FIELDS:
            value = fields.get(name)
            if value is None:
                continue
            if name != "loras":
                entry = {"name": value} if isinstance(value, str) else value
                fields[name] = self._resolve_weight(name, entry, errors)
                continue
            entries = value if isinstance(value, list | tuple) else [value]
            # More are an error of the recipe, as of other files.
            if len(entries) <= MAX_VALUES:
                parsed = [parse_lora(each) if isinstance(each, str) else each for each in entries]
                fields[name] = [self._resolve_weight(name, each, errors) for each in parsed]

    def _resolve_weight(self, field: str, value: object, errors: list[str]) -> object:
        """Return an entry of `loras`, or a single one of weights, with path and SHA-256."""
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            return value  # the validation of `Recipe` describes the error
        path = self.folder / value["name"]
        name = str(path) if os.path.exists(path) else value["name"]
        try:
            if (field, name) not in self.weights:
                self.weights[field, name] = weights_sha256(field, name)
        except InstantStyleError as error:
            errors.append(str(error))
            return value
        found = self.weights[field, name]
        if value.get("sha256") not in (None, found):
            errors.append(f"{name} is another file than the one requested (its sha256 is {str(found)[:12]}…).")
        return {**value, "name": name, "sha256": found}

    def _resolve_file(self, value: object, errors: list[str]) -> object:
        """Return the fields of a `Reference` with path and SHA-256; append what is wrong to `errors`."""
        fields = {"name": value} if isinstance(value, str) else value
        if not isinstance(fields, Mapping) or not isinstance(fields.get("name"), str):
            return value  # the validation of `Recipe` describes the error
        try:
            Reference.model_validate({"name": fields["name"]})
        except JobError:
            return fields
        path = self.folder / fields["name"]
        # Unlike `Path.is_file`, this raises nothing where a folder of the path cannot be read.
        name = str(path) if os.path.isfile(path) else fields["name"]
        try:
            found = self.sources.resolve(name).sha256
        except InstantStyleError as error:
            errors.append(str(error))
            return fields
        if fields.get("sha256") not in (None, found):
            errors.append(f"{name} is another file than the one requested (its sha256 is {found[:12]}…).")
        return {**fields, "name": name, "sha256": found}

    def _resolve_blocks(self, recipe: Recipe, name: str, in_manifest: bool) -> BlockSpec:
        """Replace the probe files of a recipe by what they say now, so that the row's key depends on that.

        Args:
            recipe: A recipe whose blocks name a probe file.
            name: The field of these blocks.
            in_manifest: Whether the row names it, so that its path may be relative to the manifest's folder.
        """
        blocks = getattr(recipe, name)
        key = json.dumps(blocks), recipe.model, in_manifest
        if key not in self.resolved_blocks:
            from ..models.network import find_architecture

            architecture = find_architecture(recipe.model)
            folder = self.folder if in_manifest else None
            self.resolved_blocks[key] = resolve_block_spec(blocks, architecture, folder)
        return self.resolved_blocks[key]

    def _find_settings_error(self, recipe: Recipe) -> str | None:
        """Validate everything that does not depend on prompt and seed."""
        try:
            validate_inputs(recipe, sources=self.sources)
            from ..models.load import validate_model

            parts: dict[str, Any] = {"adapter": recipe.adapter, "image_encoder": recipe.image_encoder}
            if recipe.second_adapter:
                parts["adapter"] = [recipe.adapter, recipe.second_adapter]
                parts["image_encoder"] = [recipe.image_encoder, recipe.second_image_encoder]
            validate_model(recipe.model, **parts, plain=is_plain(recipe, self.sources))
        except InstantStyleError as error:
            return str(error)
        return None


def _build_rows(
    source: str, manifest_rows: Sequence[ManifestRow], defaults: Mapping[str, object], folder: Path
) -> list[BatchRow]:
    _check_count(f"rows in {source}", len(manifest_rows))
    builder = _RowBuilder(defaults, folder)
    rows, errors = [], []
    for manifest_row in manifest_rows:
        try:
            rows.append(builder.build(manifest_row))
        # OSError: the name of a file can be one that this system refuses in its own way.
        except (InstantStyleError, OSError) as error:
            errors.append(f"{manifest_row.location}: {cut(one_line(error), MAX_ERROR_LENGTH)}")
    if errors:
        raise ManifestError(source, errors, len(manifest_rows))
    # A default may be for some rows only, and has an effect in none.
    refuse_fields(builder.idle_defaults or ())
    if not rows:
        raise JobError(f'{source} has no rows; write a recipe in each, such as {{"prompt": "a rocket"}}.')
    return rows
