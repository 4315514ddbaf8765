"""A batch at a glance: a contact sheet, and a page that needs no other file to be looked at."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from ..imaging.grid import TILE, contact_sheet
from ..imaging.loading import to_rgb
from ..imaging.png_metadata import write_png
from ..recipe import Recipe
from .rows import BatchRow, cut
from .store import Store

PAGE, SHEET = "index.html", "contact.png"

ACROSS = 8  # pictures in a row of the sheet
MOST = 1000  # pictures on the sheet: beyond these it is no longer at a glance; the page has all
THUMBNAIL = 160  # px

States = Mapping[str, tuple[str, str | None]]
"""By key: state and error, as `Ledger.states` tells them."""

_CSS = """
body{font:15px/1.45 sans-serif;color:#222;max-width:1120px;margin:2em auto;padding:0 1em}
ul{list-style:none;padding:0;display:grid;gap:16px;grid-template-columns:repeat(auto-fill,minmax(160px,1fr))}
li{font-size:13px;overflow-wrap:anywhere}img{display:block;margin-bottom:4px;max-width:100%}
.error{color:#a02020}small{color:#666}
"""


@dataclass(frozen=True)
class _Glimpse:
    """A picture made small: as a URL for the page, and for the sheet if it is on it."""

    data: str
    tile: Image.Image | None


Seen = Mapping[str, _Glimpse]
"""By file."""


def write_report(store: Store, rows: Sequence[BatchRow], states: States) -> str:
    """The sheet and the page in the store, in place of former ones; returns where the page is."""
    drawn = [row for row in rows if _state(row, states) == "drawn"]
    # Each is read once, for a store may be far; and made small at once: whole, they would fill the memory.
    seen = {row.file: _glimpse(store, row.file, number < MOST) for number, row in enumerate(drawn)}
    if drawn:
        with store.writing(SHEET) as file:
            write_png(_sheet(drawn[:MOST], seen), file)
    with store.writing(PAGE) as file:
        file.write(_page(store.name, rows, states, seen).encode())
    return store.at(PAGE)


def _glimpse(store: Store, file: str, tiled: bool) -> _Glimpse:
    with store.picture(file) as image:
        picture = to_rgb(image)
    held = BytesIO()
    _small(picture, THUMBNAIL).save(held, format="JPEG", quality=82)
    data = base64.b64encode(held.getvalue()).decode()
    return _Glimpse(f"data:image/jpeg;base64,{data}", _small(picture, TILE) if tiled else None)


def _small(picture: Image.Image, side: int) -> Image.Image:
    image = picture.copy()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def _sheet(rows: Sequence[BatchRow], seen: Seen) -> Image.Image:
    """Pictures of one style side by side, as they stand in the manifest."""
    lines = [line for _, same in groupby(rows, key=_styled) for line in cut(list(same), ACROSS)]
    tiles = [[seen[row.file].tile for row in line] for line in lines]
    return contact_sheet([_styled(line[0]) for line in lines], [""] * ACROSS, tiles)


def _page(name: str, rows: Sequence[BatchRow], states: States, seen: Seen) -> str:
    title = f"{name}: {_counted(rows, states)}"
    sections = [
        f"<h2>{escape(style)}</h2><ul>{''.join(_items(same, states, seen))}</ul>"
        for style, same in groupby(rows, key=_styled)
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>',
            '<meta name="viewport" content="width=device-width">',
            f"<style>{_CSS}</style>",
            f"<h1>{escape(title)}</h1>",
            *sections,
            "</html>\n",
        ]
    )


def _counted(rows: Iterable[BatchRow], states: States) -> str:
    found = [_state(row, states) for row in rows]
    counts = {state: found.count(state) for state in ("drawn", "failed", "waiting")}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _items(rows: Iterable[BatchRow], states: States, seen: Seen) -> Iterator[str]:
    for row in rows:
        state, error = states.get(row.key, ("waiting", None))
        about = f"{escape(row.recipe.prompt)} <small>seed {row.recipe.seed}, {escape(row.place)}</small>"
        if state == "drawn":
            img = f'<img src="{seen[row.file].data}" alt="{escape(row.recipe.prompt)}">'
            yield f'<li><a href="{quote(row.file)}">{img}</a>{about}</li>'
        else:
            yield f'<li>{about}<br><span class="error">{escape(error or state)}</span></li>'


def _state(row: BatchRow, states: States) -> str:
    return states.get(row.key, ("waiting", None))[0]


def _styled(row: BatchRow) -> str:
    return _name(row.recipe) or "no style"


def _name(recipe: Recipe) -> str:
    references = (*recipe.references, *recipe.layout_references)
    return " + ".join(Path(reference.name).name for reference in references)
