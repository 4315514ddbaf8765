"""What a batch draws: rows of a JSONL, CSV or YAML file, or every style with every prompt and every seed.

A row is a recipe in which much may be left out. All rows are looked at before any is drawn, and if one is
faulty, all that are faulty are told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..core.style_library import SUFFIX as SAVED
from ..core.style_library import find_style_file
from ..errors import InstantStyleError, JobError
from ..generation.generate import is_plain, validate
from ..generation.inputs import SUFFIXES, shown_in
from ..imaging.loading import file_sha256
from ..recipe import Recipe
from .manifest_formats import ManifestRow, read_rows
from .rows import BatchRow

_LISTS = ("references", "layout_references", "negative_references")
_SINGLE = ("mask", "image")

# What a picture of ours says of how it was drawn, which a row cannot ask for.
_FACTS = {"scheduler": None, "versions": {}}


class Refused(JobError):
    """Rows that are faulty: each with its place and what is wrong."""

    def __init__(self, source: str, faults: Sequence[str], count: int) -> None:
        self.faults = list(faults)
        self.summary = f"{source}: {len(faults)} of {count} rows are faulty; nothing was drawn."
        super().__init__(f"{self.summary} {' '.join(faults)}")


def manifest(path: Path, defaults: Mapping[str, Any] | None = None) -> list[BatchRow]:
    """The rows of a .jsonl, .csv or .yaml file; `defaults` hold where a row says nothing.

    Files are looked for beside the manifest, then from where we are. `Refused` names every faulty row.
    """
    return _checked(str(path), read_rows(path), defaults or {}, path.parent)


def crossed(
    styles: Sequence[Path],
    prompts: Sequence[str],
    seeds: Sequence[int],
    defaults: Mapping[str, Any] | None = None,
) -> list[BatchRow]:
    """Every style with every prompt and every seed; in folders every picture and saved style is one.

    What a picture shows is read from contents.json beside it. Without styles those of the defaults hold.
    """
    lines = [
        ManifestRow(
            f"{name or 'no style'} × {prompt!r} × seed {seed}", {**style, "prompt": prompt, "seed": seed}
        )
        for name, style in _styles(styles)
        for prompt in prompts
        for seed in seeds
    ]
    return _checked("styles × prompts × seeds", lines, defaults or {}, Path())


def seeds_of(text: str) -> list[int]:
    """`1:10` from first to last, or `1,5,9` one by one."""
    try:
        numbers = [int(part) for part in text.replace(":", ",").split(",")]
    except ValueError:
        numbers = []
    if ":" in text and len(numbers) == 2 and "," not in text and numbers[0] <= numbers[1]:
        return list(range(numbers[0], numbers[1] + 1))
    if not numbers or ":" in text:
        raise JobError(f"seeds are {text!r}; give first:last such as 1:10, or 1,5,9.")
    return numbers


def _styles(sources: Sequence[Path]) -> Iterable[tuple[str, dict[str, Any]]]:
    """What each is called, and what a row with it says."""
    if not sources:
        yield "", {}
    for source in sources:
        saved = _saved_in(source)
        yield from ((path.name, {"references": [str(path)]}) for path in saved)
        if not saved or _has_pictures(source):
            for path, content in shown_in([source]):
                shows = {"content": [content]} if content else {}
                yield path.name, {"references": [str(path)], **shows}


def _saved_in(source: Path) -> list[Path]:
    """Saved styles: those of a folder, or the one that is meant by file or name."""
    if source.is_dir():
        return sorted(source.glob(f"*{SAVED}"))
    return [source] if find_style_file(source) else []


def _has_pictures(source: Path) -> bool:
    return source.is_dir() and any(path.suffix.lower() in SUFFIXES for path in source.iterdir())


@dataclass
class _Reader:
    """Rows made of lines; each file and each setting is looked at once, however many rows share it."""

    defaults: Mapping[str, Any]
    home: Path
    settings: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fingerprint = cache(file_sha256)

    def row(self, line: ManifestRow) -> BatchRow:
        """`InstantStyleError` says what is wrong with it."""
        if line.fault:
            raise JobError(line.fault)
        row = BatchRow(self._recipe(line.fields), line.place)
        if row.settings_key not in self.settings:
            self.settings[row.settings_key] = _fault_of(row.recipe)
        if fault := self.settings[row.settings_key]:
            raise JobError(fault)
        return row

    def _recipe(self, given: Mapping[str, Any]) -> Recipe:
        """`JobError` says all that is wrong with its files and its values."""
        faults: list[str] = []
        fields = self._with_files(given, faults)
        try:
            recipe = Recipe.model_validate({**self.defaults, **fields, **_FACTS})
        except JobError as fault:
            raise JobError(" ".join([*faults, str(fault)])) from None
        if faults:
            raise JobError(" ".join(faults))
        return recipe

    def _with_files(self, given: Mapping[str, Any], faults: list[str]) -> dict[str, Any]:
        """A file's name alone becomes a reference; each is found, and known by its content."""
        fields = dict(given)
        if "style" in fields:
            if "references" in fields:
                raise JobError("style and references mean the same; give one of them.")
            fields["references"] = fields.pop("style")
        for name in _LISTS:
            if name in fields:
                listed = fields[name] if isinstance(fields[name], list | tuple) else [fields[name]]
                fields[name] = [self._reference(one, faults) for one in listed]
        for name in _SINGLE:
            if fields.get(name) is not None:
                fields[name] = self._reference(fields[name], faults)
        if isinstance(fields.get("content"), str):
            fields["content"] = [fields["content"]]
        return fields

    def _reference(self, given: Any, faults: list[str]) -> Any:
        fields = {"name": given} if isinstance(given, str) else given
        if not isinstance(fields, Mapping) or not isinstance(fields.get("name"), str):
            return given  # the recipe says what is wrong with it
        beside = self.home / fields["name"]
        name = str(beside) if beside.is_file() else fields["name"]
        try:
            found = self.fingerprint(find_style_file(name) or name)
        except InstantStyleError as fault:
            faults.append(str(fault))
            return fields
        if fields.get("sha256") not in (None, found):
            faults.append(f"{name} is another file than the one asked for (sha256 {found[:12]}…).")
        return {**fields, "name": name, "sha256": found}


def _checked(
    source: str, lines: Sequence[ManifestRow], defaults: Mapping[str, Any], home: Path
) -> list[BatchRow]:
    reader = _Reader(defaults, home)
    rows, faults = [], []
    for line in lines:
        try:
            rows.append(reader.row(line))
        except InstantStyleError as fault:
            faults.append(f"{line.place}: {fault}")
    if faults:
        raise Refused(source, faults, len(lines))
    if not rows:
        raise JobError(f'{source} has no rows; write a recipe in each, such as {{"prompt": "a rocket"}}.')
    return rows


def _fault_of(recipe: Recipe) -> str | None:
    """Of all that does not depend on prompt and seed."""
    try:
        validate(recipe)
        _refuse_idle(recipe)
        from ..models.load import check_model

        parts = {"adapter": recipe.adapter, "image_encoder": recipe.image_encoder}
        check_model(recipe.model, **parts, plain=is_plain(recipe))
    except InstantStyleError as fault:
        return str(fault)
    return None


def _refuse_idle(recipe: Recipe) -> None:
    """What acts on a reference, where there is none."""
    idle = [name for name in ("content", "negative_references") if getattr(recipe, name)]
    if idle and not recipe.references:
        raise JobError(f"{' and '.join(idle)} acts on a reference, and there is none; add a style.")
