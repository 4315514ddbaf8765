"""The rows of a batch: read from a JSONL, CSV or YAML manifest, or a product of styles, prompts and seeds.

A row is a recipe in which most fields may be left out. All rows are validated before any image is generated;
the errors of all invalid rows are reported together.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..core.style_library import SUFFIX as STYLE_SUFFIX
from ..core.style_library import find_style_file
from ..errors import InstantStyleError, JobError
from ..generation.idle_fields import refuse_fields
from ..generation.inputs import list_images_with_content
from ..generation.request_checks import find_equal_images
from ..imaging.loading import IMAGE_SUFFIXES
from ..utils.text import cut, join_first, one_line, shorten
from .manifest_formats import ManifestRow, read_rows
from .row_builder import RowBuilder
from .rows import BatchRow
from .sets import SET, name_first_images

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
        defaults: Fields of a recipe that hold for every row. With `shared`, the images of a style are a set.

    Returns:
        The rows, ordered by style, prompt and seed.

    Raises:
        ManifestError: At least one row is invalid.
        JobError: There are no rows, more than `MAX_ROWS`, or one of each style where images share attention.
    """
    named_fields = list(_style_fields(styles))
    _check_count("combinations of style, prompt and seed", len(named_fields) * len(prompts) * len(seeds))
    is_set = bool((defaults or {}).get("shared"))
    if is_set and len(prompts) * len(seeds) == 1:
        raise JobError(
            "shared gives the images of a style the look of the first one, and each style has one image; give several "
            "prompts or seeds, or leave shared out."
        )
    rows = [
        ManifestRow(
            f"{name or 'no style'} × {shorten(prompt)} × seed {shorten(seed)}",
            {**fields, "prompt": prompt, "seed": seed, **({SET: place + 1} if is_set else {})},
        )
        for place, (name, fields) in enumerate(named_fields)
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


def _build_rows(
    source: str, manifest_rows: Sequence[ManifestRow], defaults: Mapping[str, object], folder: Path
) -> list[BatchRow]:
    _check_count(f"rows in {source}", len(manifest_rows))
    manifest_rows = name_first_images(manifest_rows, defaults)
    builder = RowBuilder(defaults, folder)
    rows, errors = [], []
    for manifest_row in manifest_rows:
        try:
            rows.append(builder.build(manifest_row))
        # OSError: the name of a file can be one that this system refuses in its own way.
        except (InstantStyleError, OSError) as error:
            errors.append(f"{manifest_row.location}: {cut(one_line(error), MAX_ERROR_LENGTH)}")
    if errors:
        raise ManifestError(source, errors, len(manifest_rows))
    if equal := find_equal_images(row.recipe for row in rows):
        first, second = (rows[place].location for place in equal)
        raise JobError(
            f"{first} and {second} of {source} differ in their seed alone, and an image that begins with an inversion "
            "does not depend on it: both would be equal. Leave one of them out."
        )
    # A default may be for some rows only, and has an effect in none.
    refuse_fields(builder.idle_defaults or ())
    if not rows:
        raise JobError(f'{source} has no rows; write a recipe in each, such as {{"prompt": "a rocket"}}.')
    return rows
