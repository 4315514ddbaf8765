"""Report of a batch: a contact sheet, and an HTML page that needs no other file."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import get_args

from PIL import Image

from ..imaging.conversion import to_rgb
from ..imaging.grid import TILE_SIDE, contact_sheet
from ..imaging.png_metadata import write_png
from ..utils.html import jpeg_data_url, render
from .ledger import RowStates, State
from .rows import BatchRow, split_batch
from .store import Store

PAGE, SHEET = "index.html", "contact.png"

SHEET_COLUMNS = 8

MAX_SHEET_IMAGES = 1000
"""Images on the contact sheet; the page shows all of them."""

THUMBNAIL_SIZE = 160
"""Longer side of an image on the page, in pixels."""


def write_report(store: Store, rows: Sequence[BatchRow], states: RowStates) -> str:
    """Write the contact sheet and the page to the store, replacing earlier ones.

    Args:
        store: The store that holds the images.
        rows: Rows to show, in this order; consecutive rows of one style form a section.
        states: State and error by row key, as `Ledger.states` returns them.

    Returns:
        Path or URL of the page.

    Raises:
        ImageError: An image of the store cannot be decoded.
        JobError: The store cannot be read or written.
    """
    shown = [(row, *states.get(row.key, ("waiting", None))) for row in rows]
    generated = [row for row, state, _ in shown if state == "drawn"]
    urls: dict[str, str] = {}
    tiles: dict[str, Image.Image] = {}
    # Each image is read once, because a store may be remote, and only reduced copies are kept in memory.
    for number, row in enumerate(generated):
        with store.open_image(row.file) as image:
            rgb = to_rgb(image)
        urls[row.file] = jpeg_data_url(_reduced(rgb, THUMBNAIL_SIZE))
        if number < MAX_SHEET_IMAGES:
            tiles[row.file] = _reduced(rgb, TILE_SIDE)
    if generated:
        with store.open_writer(SHEET) as file:
            write_png(_contact_sheet(generated[:MAX_SHEET_IMAGES], tiles), file)

    counts = Counter(state for _, state, _ in shown)
    counted = ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state])
    sections = [(style, list(group)) for style, group in groupby(shown, key=lambda item: _style_label(item[0]))]
    page = render("batch/templates/report.html.jinja", title=f"{store.name}: {counted}", sections=sections, urls=urls)
    with store.open_writer(PAGE) as file:
        file.write(page.encode())
    return store.display_path(PAGE)


def _contact_sheet(rows: Sequence[BatchRow], tiles: dict[str, Image.Image]) -> Image.Image:
    """Arrange the images of consecutive rows of one style in lines of `SHEET_COLUMNS`."""
    groups = [list(group) for _, group in groupby(rows, key=_style_label)]
    lines = [line for group in groups for line in split_batch(group, SHEET_COLUMNS)]
    images = [[tiles[row.file] for row in line] for line in lines]
    return contact_sheet([_style_label(line[0]) for line in lines], [""] * SHEET_COLUMNS, images)


def _reduced(image: Image.Image, side: int) -> Image.Image:
    copy = image.copy()
    copy.thumbnail((side, side), Image.Resampling.LANCZOS)
    return copy


def _style_label(row: BatchRow) -> str:
    recipe = row.recipe
    references = (*recipe.references, *recipe.layout_references, *recipe.second_references)
    return " + ".join(Path(reference.name).name for reference in references) or "no style"
