"""Manifest files: JSON lines, comma-separated values, or a YAML list."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_origin

from ..errors import JobError, suggest_nearest
from ..recipe import BLOCK_FIELDS, FILE_FIELDS, Recipe
from ..utils.text import join_first, shorten, split_rows
from ..utils.text_file import parse_json, read_text_file

FILE_LIST_FIELDS = tuple(name for name in FILE_FIELDS if get_origin(Recipe.model_fields[name].annotation) is tuple)
"""Fields of a recipe that name any number of files; the rest of `FILE_FIELDS` name one."""

_COMPOUND_FIELDS = (
    *("style", *FILE_LIST_FIELDS, "loras", "content", *BLOCK_FIELDS),
    *("guidance_interval", "colour_transfer_interval", "redux_curve"),
)
"""Fields whose CSV cells may hold several values, or JSON."""


@dataclass(frozen=True)
class ManifestRow:
    """A row of a manifest before validation.

    Args:
        location: Where the row is, for example `line 3`.
        fields: Values as written in the file.
        error: Why the row has no fields, if it could not be parsed.
    """

    location: str
    fields: Mapping[str, object] = field(default_factory=dict)
    error: str | None = None


def read_rows(path: Path) -> list[ManifestRow]:
    """Read a manifest.

    Args:
        path: A file whose suffix is .jsonl, .csv, .yaml or .yml.

    Returns:
        A row for each row of the file, including rows that could not be parsed.

    Raises:
        JobError: The suffix is unknown, or the file as a whole cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        known = ", ".join(_READERS)
        raise JobError(f"{path} should end in one of {known}.{suggest_nearest(suffix, list(_READERS))}")
    return _READERS[suffix](read_text_file(path, "a manifest"), path)


def _read_json_lines(text: str, path: Path) -> list[ManifestRow]:
    rows = []
    for number, line in enumerate(split_rows(text), start=1):
        location = f"line {number}"
        if not line.strip():
            continue
        try:
            rows.append(_to_row(location, parse_json(line)))
        except ValueError as error:
            rows.append(ManifestRow(location, error=f"{error}."))
    return rows


def _read_csv(text: str, path: Path) -> list[ManifestRow]:
    """Read a table with a header of field names. Empty cells are omitted; semicolons separate list items."""
    table = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    try:
        header = [name.strip() for name in next(table, [])]
        if len(set(header)) < len(header):
            raise JobError(f"{path} has a column twice in its header ({join_first(header)}).")
        return [
            _read_csv_row(f"line {table.line_num}", header, cells) for cells in table if any(map(str.strip, cells))
        ]
    except csv.Error as error:
        raise JobError(f"{path}, line {table.line_num}: {error}.") from None


def _read_csv_row(location: str, header: list[str], cells: list[str]) -> ManifestRow:
    if len(cells) != len(header):
        return ManifestRow(location, error=f"it has {len(cells)} cells, and the header {len(header)}.")
    columns = zip(header, map(str.strip, cells), strict=True)
    try:
        return ManifestRow(location, {name: _parse_cell(name, text) for name, text in columns if text})
    except ValueError as error:
        return ManifestRow(location, error=f"{error}.")


def _parse_cell(name: str, text: str) -> object:
    """Parse a cell of a compound field; other cells stay text, from which `Recipe` reads numbers."""
    if name not in _COMPOUND_FIELDS:
        return text
    if text[0] in "[{":
        return parse_json(text)
    parts = [part.strip() for part in text.split(";") if part.strip()]
    return parts if name not in BLOCK_FIELDS or len(parts) > 1 else text


def _read_yaml(text: str, path: Path) -> list[ManifestRow]:
    from .manifest_yaml import YamlRowError, parse_yaml_list

    try:
        values = parse_yaml_list(text)
    except ValueError as error:
        raise JobError(f"{path} {error}.") from None
    rows: list[ManifestRow] = []
    for number, value in enumerate(values, start=1):
        location = f"row {number}"
        is_error = isinstance(value, YamlRowError)
        rows.append(ManifestRow(location, error=f"{value}.") if is_error else _to_row(location, value))
    return rows


def _to_row(location: str, value: object) -> ManifestRow:
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return ManifestRow(location, value)
    return ManifestRow(location, error=f"it is {shorten(value)}, not a mapping from fields of a recipe to values.")


_READERS: dict[str, Callable[[str, Path], list[ManifestRow]]] = {
    ".jsonl": _read_json_lines,
    ".csv": _read_csv,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}
