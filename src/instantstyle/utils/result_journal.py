"""Results of long jobs in one JSON file, so that an interrupted job can be resumed.

File format: `{"version": 1, "settings": {…}, …, "cells": {name: result}}`, with the summary of the finished
job between settings and cells.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import JobError
from .atomic_write import atomic_write
from .text import join_first, shorten
from .text_file import parse_json, read_text_file

VERSION = 1

JsonObject = dict[str, Any]
"""A JSON object as it is read from a file; its values are not checked."""


class ResultJournal:
    """Settings of a job and the results of its finished cells. The file is rewritten after each cell.

    Args:
        path: The file. If it exists, its cells are read and the job continues.
        settings: All settings that the results depend on, as values that JSON can represent.

    Raises:
        JobError: The file was written with other settings, is not a journal or has cells of another form, or its
            folder does not exist.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        self.path = path
        # Converted to JSON and back, as those of a file, in which tuples are lists.
        self.settings: JsonObject = json.loads(json.dumps(settings))
        self.cells: JsonObject = {}
        if os.path.exists(path):
            self.cells = self._read_cells()
        elif not path.parent.is_dir():
            raise JobError(f"{path.parent} is not a folder; create it first, or write elsewhere.")

    def add(self, name: str, result: object) -> None:
        """Add the result of a finished cell and write the file.

        Args:
            name: Unique name of the cell.
            result: A value that JSON can represent.
        """
        self.cells[name] = result
        self.write()

    def write(self, **summary: object) -> None:
        """Write the file atomically.

        Args:
            summary: Further top-level entries, for the results of the whole job.
        """
        content = {"version": VERSION, "settings": self.settings, **summary, "cells": self.cells}
        with atomic_write(self.path, force=True) as draft:
            draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def _read_cells(self) -> JsonObject:
        content = read_journal(self.path)
        settings, cells = content.get("settings"), content.get("cells")
        if not isinstance(settings, dict) or not isinstance(cells, dict):
            raise JobError(f"{self.path} is not a result journal; write elsewhere.")
        settings = cast("JsonObject", settings)
        if settings != self.settings:
            differences = join_first(
                [
                    f"{name} {shorten(settings.get(name), 60)}, not {shorten(self.settings.get(name), 60)}"
                    for name in {**settings, **self.settings}
                    if settings.get(name) != self.settings.get(name)
                ],
                separator="; ",
            )
            raise JobError(
                f"{self.path} was written with other settings ({differences}); write elsewhere, or delete it."
            )
        return cast("JsonObject", cells)


def read_journal(path: Path) -> JsonObject:
    """Read the file of a journal.

    Returns:
        The JSON object. Its version is checked, other entries are not.

    Raises:
        JobError: The file does not exist, is not JSON, or is not a journal of this version.
    """
    text = read_text_file(path, "a result journal")
    try:
        content = parse_json(text)
    except ValueError as error:
        raise JobError(f"{path} is not a result journal: {error}; create it again.") from None
    version = cast("JsonObject", content).get("version") if isinstance(content, dict) else None
    # True equals 1.
    if isinstance(version, bool) or version != VERSION:
        raise JobError(f"{path} is not a result journal of version {VERSION}.")
    return cast("JsonObject", content)
