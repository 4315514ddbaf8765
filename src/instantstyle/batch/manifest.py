"""The rows of a batch: read from a JSONL, CSV or YAML manifest, or a product of styles, prompts and seeds.

A row is a recipe in which most fields may be left out. All rows are validated before any image is generated;
the errors of all invalid rows are reported together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core.style_library import SUFFIX as STYLE_SUFFIX
from ..core.style_library import find_style_file
from ..errors import InstantStyleError, JobError
from ..generation.inputs import IMAGE_SUFFIXES, list_images_with_content
from ..generation.load import is_plain
from ..generation.sources import SourceCache
from ..generation.validate import validate
from ..recipe import FILE_FIELDS, Recipe
from .manifest_formats import FILE_LIST_FIELDS, ManifestRow, read_rows
from .rows import BatchRow

_RESULT_FIELDS = {"scheduler": None, "versions": {}}
"""Fields that a saved recipe records and a row cannot request."""


class ManifestError(JobError):
    """Some rows are invalid; nothing was generated.

    Args:
        source: The manifest, or what the rows were built from.
        errors: A line for each invalid row, with its location.
        count: Number of all rows.
    """

    def __init__(self, source: str, errors: Sequence[str], count: int) -> None:
        self.errors = list(errors)
        self.summary = f"{source}: {len(errors)} of {count} rows are invalid; no image was generated."
        super().__init__(f"{self.summary} {' '.join(errors)}")


def read_manifest(path: Path, defaults: Mapping[str, object] | None = None) -> list[BatchRow]:
    """Read and validate a manifest.

    Args:
        path: A .jsonl, .csv or .yaml file with a recipe in each row. Relative paths in it are resolved
            against its folder first, then against the working directory.
        defaults: Fields of a recipe for rows that leave them out.

    Returns:
        The rows, with the SHA-256 of every file that they name.

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
        JobError: There are no rows.
    """
    rows = [
        ManifestRow(f"{name or 'no style'} × {prompt!r} × seed {seed}", {**fields, "prompt": prompt, "seed": seed})
        for name, fields in _style_fields(styles)
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
        JobError: The text has neither form.
    """
    try:
        numbers = [int(part) for part in text.replace(":", ",").split(",")]
    except ValueError:
        numbers = []
    if ":" in text and len(numbers) == 2 and "," not in text and numbers[0] <= numbers[1]:
        return list(range(numbers[0], numbers[1] + 1))
    if not numbers or ":" in text:
        raise JobError(f"seeds are {text!r}; give first:last such as 1:10, or a list such as 1,5,9.")
    return numbers


def _style_fields(sources: Sequence[Path]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield the name of each style and the fields of a row that uses it."""
    if not sources:
        yield "", {}
    for source in sources:
        if source.is_dir():
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

    def build(self, manifest_row: ManifestRow) -> BatchRow:
        """Build a row; raises `InstantStyleError` with everything that is wrong with it."""
        if manifest_row.error:
            raise JobError(manifest_row.error)
        row = BatchRow(self._build_recipe(manifest_row.fields), manifest_row.location)
        if row.settings_key not in self.settings_errors:
            self.settings_errors[row.settings_key] = self._find_settings_error(row.recipe)
        if error := self.settings_errors[row.settings_key]:
            raise JobError(error)
        return row

    def _build_recipe(self, fields: Mapping[str, object]) -> Recipe:
        fields = dict(fields)
        if "style" in fields:
            if "references" in fields:
                raise JobError("style is another name for references; give only one of them.")
            fields["references"] = fields.pop("style")
        errors: list[str] = []
        # The files are resolved before the recipe is validated, so that errors of both are reported together.
        for name in FILE_FIELDS:
            value = fields.get(name)
            if name in FILE_LIST_FIELDS and value is not None:
                values = value if isinstance(value, list | tuple) else [value]
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

    def _resolve_file(self, value: object, errors: list[str]) -> object:
        """Return the fields of a `Reference` with path and SHA-256; append what is wrong to `errors`."""
        fields = {"name": value} if isinstance(value, str) else value
        if not isinstance(fields, Mapping) or not isinstance(fields.get("name"), str):
            return value  # the validation of `Recipe` describes the error
        path = self.folder / fields["name"]
        name = str(path) if path.is_file() else fields["name"]
        try:
            found = self.sources.resolve(name).sha256
        except InstantStyleError as error:
            errors.append(str(error))
            return fields
        if fields.get("sha256") not in (None, found):
            errors.append(f"{name} is another file than the one requested (its sha256 is {found[:12]}…).")
        return {**fields, "name": name, "sha256": found}

    def _find_settings_error(self, recipe: Recipe) -> str | None:
        """Validate everything that does not depend on prompt and seed."""
        try:
            validate(recipe, sources=self.sources)
            from ..models.load import validate_model

            parts = {"adapter": recipe.adapter, "image_encoder": recipe.image_encoder}
            validate_model(recipe.model, **parts, plain=is_plain(recipe, self.sources))
        except InstantStyleError as error:
            return str(error)
        return None


def _build_rows(
    source: str, manifest_rows: Sequence[ManifestRow], defaults: Mapping[str, object], folder: Path
) -> list[BatchRow]:
    builder = _RowBuilder(defaults, folder)
    rows, errors = [], []
    for manifest_row in manifest_rows:
        try:
            rows.append(builder.build(manifest_row))
        except InstantStyleError as error:
            errors.append(f"{manifest_row.location}: {error}")
    if errors:
        raise ManifestError(source, errors, len(manifest_rows))
    if not rows:
        raise JobError(f'{source} has no rows; write a recipe in each, such as {{"prompt": "a rocket"}}.')
    return rows
