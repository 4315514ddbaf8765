"""Many references and prompts, from folders and files as people keep them."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import ImageError, JobError, did_you_mean
from ..imaging.loading import file_sha256, open_reference

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp")
CONTENTS = ("contents.json", "contents.csv")
"""Beside the pictures, what each of them shows: {"ink.png": "a cat"}, or lines ink.png,a cat."""


@dataclass(frozen=True, eq=False)
class ReferenceImage:
    """A reference among others: what it is called, the picture, and the words for what it shows if known."""

    name: str
    image: Image.Image
    content: str | None = None
    sha256: str | None = None


def load_references(
    sources: Sequence[Path], *, skip_bad: bool = False
) -> tuple[list[ReferenceImage], list[ImageError]]:
    """The pictures, of folders all of them by name; and those that could not be read, where they are skipped.

    Each has its own name: a second ink.png is called `ink.png (2)`.
    """
    found: list[ReferenceImage] = []
    bad: list[ImageError] = []
    for path, content in shown_in(sources):
        try:
            image = open_reference(path)
        except ImageError as fault:
            if not skip_bad:
                raise ImageError(f"{fault} To go on without it: --skip-bad.") from None
            bad.append(fault)
            continue
        found.append(ReferenceImage(_unused(path.name, found), image, content, file_sha256(path)))
    if not found:
        raise JobError(f"There is no picture in {', '.join(map(str, sources)) or 'no files'} to read.")
    return found, bad


def shown_in(sources: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
    """Each file, of folders all pictures by name, with the words for what it shows if they are known."""
    shows = {folder: _contents(folder) for folder in {_home(source) for source in sources}}
    for path in _files(sources):
        yield path, shows[path.parent].get(path.name)


def read_prompts(values: Sequence[str]) -> list[str]:
    """Prompts themselves, and those in files, a line each; blank lines are passed over."""
    found = [prompt for value in values for prompt in _prompts_in(value)]
    if not found:
        raise JobError(f"There is no prompt in {', '.join(values) or 'no files'}; write one a line.")
    return found


def _prompts_in(value: str) -> list[str]:
    if Path(value).suffix.lower() != ".txt" and not _is_file(value):
        return [value.strip()] if value.strip() else []
    try:
        lines = Path(value).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise JobError(f"{value} cannot be read as a file of prompts ({fault}).") from None
    return [line.strip() for line in lines if line.strip()]


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except (OSError, ValueError):  # too long for a name, or with a mark that none may hold: words
        return False


def _files(sources: Sequence[Path]) -> Iterator[Path]:
    for source in sources:
        if not source.is_dir():
            yield source
            continue
        inside = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
        if not inside:
            raise JobError(f"{source} holds no pictures; we look for {', '.join(SUFFIXES)}.")
        yield from inside


def _home(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _contents(folder: Path) -> Mapping[str, str]:
    file = next((folder / name for name in CONTENTS if (folder / name).is_file()), None)
    if file is None:
        return {}
    try:
        shown = _read_contents(file)
    except (OSError, ValueError) as fault:
        raise JobError(f"{file} should say what each picture shows, and cannot be read: {fault}.") from None
    present = [path.name for path in folder.iterdir()]
    for name in shown:
        if name not in present:
            raise JobError(f"{file} names {name}, which is not in {folder}.{did_you_mean(name, present)}")
    return shown


def _read_contents(file: Path) -> dict[str, str]:
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix == ".csv":
        rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
        if any(len(row) != 2 for row in rows):
            raise ValueError("each line is a file's name and the words for what it shows")
        return {name.strip(): content.strip() for name, content in rows if name != "file"}
    shown = json.loads(text)
    if not isinstance(shown, dict) or not all(isinstance(words, str) for words in shown.values()):
        raise ValueError('it is to be {"ink.png": "a cat", …}')
    return shown


def _unused(name: str, taken: Sequence[ReferenceImage]) -> str:
    before = sum(other.name.partition(" (")[0] == name for other in taken)
    return f"{name} ({before + 1})" if before else name
