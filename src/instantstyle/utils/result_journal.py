"""Work that may be cut short and taken up again: its settings and finished cells in one JSON file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import JobError
from .atomic_write import atomic_write

VERSION = 1


class ResultJournal:
    """`settings` and `cells` of a piece of work; written whole after each cell, so that none is done twice.

    Whatever else the finished work has to say stands beside them in the same file.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Begun anew, or taken up where the file exists; `JobError` where that was made by other settings."""
        self.path = path
        # Through JSON, as a file's own settings went: tuples are lists there.
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.cells: dict[str, Any] = {}
        if path.exists():
            self.cells = self._taken_up(read(path))
        elif not path.parent.is_dir():
            raise JobError(f"{path.parent} is not a folder; make it first, or write elsewhere.")

    def add(self, name: str, cell: Any) -> None:
        """Keep a finished cell."""
        self.cells[name] = cell
        self.write()

    def write(self, **findings: Any) -> None:
        """The file anew, with `findings` beside settings and cells."""
        text = json.dumps(
            {"version": VERSION, "settings": self.settings, **findings, "cells": self.cells}, indent=1
        )
        with atomic_write(self.path, force=True) as draft:
            draft.write_text(text + "\n", encoding="utf-8")

    def _taken_up(self, held: Mapping[str, Any]) -> dict[str, Any]:
        theirs = held.get("settings")
        if not isinstance(theirs, dict) or not isinstance(held.get("cells"), dict):
            raise JobError(f"{self.path} is not one of our journals; write elsewhere.")
        if theirs != self.settings:
            names = [*{**theirs, **self.settings}]
            differ = [name for name in names if theirs.get(name) != self.settings.get(name)]
            told = "; ".join(
                f"{name} {_short(theirs.get(name))}, not {_short(self.settings.get(name))}" for name in differ
            )
            raise JobError(
                f"{self.path} was made with other settings ({told}); write elsewhere, or delete it."
            )
        return held["cells"]


def read(path: Path) -> dict[str, Any]:
    """What a journal's file holds."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JobError(f"{path} does not exist; looked in {path.absolute().parent}.") from None
    except (OSError, ValueError) as fault:
        raise JobError(f"{path} is not JSON that can be read ({fault}); write it anew.") from None
    if not isinstance(held, dict) or held.get("version") != VERSION:
        raise JobError(f"{path} is not one of our journals, or of another version than {VERSION}.")
    return held


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 60 else f"{text[:57]}…"
