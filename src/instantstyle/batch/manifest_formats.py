"""Rows as people write them: JSON lines, a table of comma-separated values, or a YAML list."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import JobError, did_you_mean


@dataclass(frozen=True)
class ManifestRow:
    """What one row says, and where it stands; `fault` where it cannot be read as a row."""

    place: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None


def read_rows(path: Path) -> list[ManifestRow]:
    """A line for each row of the file, faulty ones too; `JobError` where the whole cannot be read."""
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        known = ", ".join(_READERS)
        raise JobError(f"{path} should end in one of {known}.{did_you_mean(suffix, list(_READERS))}")
    try:
        # -sig: spreadsheets begin their files with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise JobError(f"{path} does not exist; looked in {path.absolute().parent}.") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise JobError(f"{path} cannot be read as a manifest ({fault}).") from None
    return _READERS[suffix](text, path)


def _json_lines(text: str, path: Path) -> list[ManifestRow]:
    numbered = enumerate(text.split("\n"), start=1)
    return [_json_line(f"line {number}", line) for number, line in numbered if line.strip()]


def _json_line(place: str, text: str) -> ManifestRow:
    try:
        return _mapping(place, json.loads(text))
    except ValueError as fault:
        return ManifestRow(place, fault=f"this is not JSON: {fault}.")


def _comma_separated(text: str, path: Path) -> list[ManifestRow]:
    """A header with the fields' names; empty cells say nothing, and a semicolon parts what is a list."""
    table = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in next(table, [])]
        if len(set(header)) < len(header):
            raise JobError(f"{path} names a column twice in its header ({', '.join(header)}).")
        return [
            _cells(f"line {table.line_num}", header, cells) for cells in table if any(map(str.strip, cells))
        ]
    except csv.Error as fault:
        raise JobError(f"{path}, line {table.line_num}: {fault}.") from None


def _cells(place: str, header: list[str], cells: list[str]) -> ManifestRow:
    if len(cells) != len(header):
        return ManifestRow(place, fault=f"it has {len(cells)} cells, and the header {len(header)}.")
    named = zip(header, map(str.strip, cells), strict=True)
    try:
        return ManifestRow(place, {name: _cell(name, text) for name, text in named if text})
    except ValueError as fault:
        return ManifestRow(place, fault=f"this is not JSON: {fault}.")


def _cell(name: str, text: str) -> Any:
    """Text, unless it is one of the few fields that hold more; numbers are the recipe's to read."""
    if name not in _COMPOUND:
        return text
    if text[0] in "[{":
        return json.loads(text)
    parts = [part.strip() for part in text.split(";") if part.strip()]
    return parts if name != "blocks" or len(parts) > 1 else text


_COMPOUND = (
    *("style", "references", "layout_references", "negative_references"),
    *("content", "blocks", "guidance_interval"),
)


def _yaml_list(text: str, path: Path) -> list[ManifestRow]:
    import yaml

    try:
        rows = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise JobError(f"{path} is not YAML: {' '.join(str(fault).split())}.") from None
    if not isinstance(rows, list):
        raise JobError(f"{path} should be a list, each row beginning with a dash.")
    return [_mapping(f"row {number}", row) for number, row in enumerate(rows, start=1)]


def _mapping(place: str, row: Any) -> ManifestRow:
    if isinstance(row, dict) and all(isinstance(name, str) for name in row):
        return ManifestRow(place, row)
    return ManifestRow(place, fault=f"it is {row!r}, not fields of a recipe with their values.")


_READERS: dict[str, Callable[[str, Path], list[ManifestRow]]] = {
    ".jsonl": _json_lines,
    ".csv": _comma_separated,
    ".yaml": _yaml_list,
    ".yml": _yaml_list,
}
