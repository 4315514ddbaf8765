"""Read many reference images and prompts from folders and files."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import ImageError, JobError, suggest_nearest
from ..imaging.loading import IMAGE_SUFFIXES, decode_and_hash, open_reference
from ..utils.parsed_values import MAX_TEXT
from ..utils.text import cut, find_text_fault, join_first, one_line, shorten, split_rows
from ..utils.text_file import describe_repeated, parse_json, read_text_file

CONTENT_FILES = ("contents.json", "contents.csv")
"""Files beside images that name the content of each: {"ink.png": "a cat"}, or lines ink.png,a cat."""


@dataclass(frozen=True, eq=False)
class ReferenceImage:
    """A reference image among others.

    Attributes:
        name: Name of the file, unique among the references.
        image: The image as upright RGB.
        content: Words for its content; None if unknown.
        sha256: SHA-256 of the file in hexadecimal; None if the image is not from a file.
        caption: Words for its content and look; None if unknown.
    """

    name: str
    image: Image.Image
    content: str | None = None
    sha256: str | None = None
    caption: str | None = None


def load_references(
    sources: Sequence[Path], *, skip_bad: bool = False
) -> tuple[list[ReferenceImage], list[ImageError]]:
    """Load reference images.

    Args:
        sources: Image files, and folders of which all images are loaded in the order of their names.
        skip_bad: Whether to continue without images that cannot be read.

    Returns:
        The images; and the errors of those that were skipped. A second ink.png is named `ink.png (2)`.

    Raises:
        ImageError: An image cannot be read, unless `skip_bad`.
        JobError: There is no image, or a file with contents is not valid.
    """
    references: list[ReferenceImage] = []
    errors: list[ImageError] = []
    for path, content in list_images_with_content(sources):
        try:
            image, digest = decode_and_hash(path, open_reference)
        except ImageError as error:
            if not skip_bad:
                raise ImageError(f"{error} To continue without it: --skip-bad.") from None
            errors.append(error)
            continue
        same_name = sum(other.name.partition(" (")[0] == path.name for other in references)
        name = f"{path.name} ({same_name + 1})" if same_name else path.name
        references.append(ReferenceImage(name, image, content, digest))
    if not references:
        raise JobError(f"There is no readable image in {', '.join(map(str, sources)) or 'no files'}.")
    return references, errors


def list_images_with_content(sources: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
    """List image files, and the content that a file beside them names.

    Args:
        sources: Image files, and folders of which all images are listed in the order of their names.

    Yields:
        Path, and words for the content or None if unknown.

    Raises:
        JobError: A folder has no images, or a file with contents is not valid.
    """
    folders = {source if os.path.isdir(source) else source.parent for source in sources}
    contents = {folder: _read_contents(folder) for folder in folders}
    for source in sources:
        paths = [source]
        if os.path.isdir(source):
            paths = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise JobError(f"{source} has no images; their suffixes can be {', '.join(IMAGE_SUFFIXES)}.")
        for path in paths:
            yield path, contents[path.parent].get(path.name)


def read_prompts(values: Sequence[str]) -> list[str]:
    """Read prompts.

    Args:
        values: Prompts, and text files (UTF-8) with one prompt in each line, which ends at \\n or \\r\\n. Blank
            lines are skipped.

    Returns:
        The prompts, at least one.

    Raises:
        JobError: A file cannot be read, a prompt is not Unicode or has a NUL character, or there is no prompt.
    """
    prompts: list[str] = []
    for value in values:
        lines, source = [value], "A prompt"
        if Path(value).suffix.lower() == ".txt" or os.path.isfile(value):
            lines = split_rows(read_text_file(value, "a file of prompts"))
            source = f"{cut(value, 200)}, line"
        for number, line in enumerate(lines, start=1):
            fault = find_text_fault(line) or (f"has more than {MAX_TEXT:,} characters" if len(line) > MAX_TEXT else "")
            if fault:
                place = source if lines == [value] else f"{source} {number}"
                raise JobError(f"{place}: {shorten(line)} {fault}.")
        prompts += [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise JobError(f"There is no prompt in {join_first(values) or 'no files'}; write one in each line.")
    return prompts


def _read_contents(folder: Path) -> Mapping[str, str]:
    """Read the content file of a folder: words by file name, empty without such a file."""
    file = next((folder / name for name in CONTENT_FILES if os.path.isfile(folder / name)), None)
    if file is None:
        return {}
    text = read_text_file(file, "a list of contents")
    try:
        contents = _parse_contents(text, file.suffix)
    except (ValueError, csv.Error) as error:
        reason = one_line(error, 300)
        raise JobError(f"{file} should name the content of each image, but is not valid: {reason}.") from None
    present = set(os.listdir(folder))
    for name in contents:
        if name not in present:
            nearest = suggest_nearest(name, present)
            raise JobError(f"{file} names {one_line(name, 100)}, which is not in {folder}.{nearest}")
    return contents


def _parse_contents(text: str, suffix: str) -> dict[str, str]:
    if suffix == ".csv":
        rows = list(_parse_contents_table(text))
        if len(dict(rows)) < len(rows):
            raise ValueError(describe_repeated(name for name, _ in rows))
        return dict(rows)
    contents = parse_json(text)
    if not isinstance(contents, dict) or not all(isinstance(words, str) for words in contents.values()):
        raise ValueError('it must have the form {"ink.png": "a cat", …}')
    for name, words in contents.items():
        if fault := find_text_fault(name) or find_text_fault(words):
            raise ValueError(f"the entry of {shorten(name)} {fault}")
    return contents


def _parse_contents_table(text: str) -> Iterator[tuple[str, str]]:
    table = csv.reader(io.StringIO(text, newline="\n"))
    for row in table:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != 2:
            raise ValueError(f"line {table.line_num} must be the name of a file and words for its content")
        if fault := find_text_fault("".join(row)):
            raise ValueError(f"line {table.line_num} {fault}")
        if row[0] != "file":
            yield row[0].strip(), row[1].strip()
