"""A batch at a glance: a contact sheet, and a page that needs no other file to be looked at."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from io import BytesIO
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from ..files import whole
from ..grids import TILE, contact_sheet
from ..images import open_reference
from ..pictures import save_png
from ..recipe import Recipe
from .rows import Row, cut

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


def write_report(folder: Path, rows: Sequence[Row], states: States) -> Path:
    """The sheet and the page in the folder, in place of former ones; returns where the page is."""
    drawn = [row for row in rows if _state(row, states) == "drawn"][:MOST]
    if drawn:
        save_png(_sheet(folder, drawn), folder / SHEET, force=True)
    with whole(folder / PAGE, force=True) as draft:
        draft.write_text(_page(folder, rows, states), encoding="utf-8")
    return folder / PAGE


def _sheet(folder: Path, rows: Sequence[Row]) -> Image.Image:
    """Pictures of one style side by side, as they stand in the manifest."""
    lines = [line for _, same in groupby(rows, key=_styled) for line in cut(list(same), ACROSS)]
    tiles = [[_small(folder / row.file, TILE) for row in line] for line in lines]
    return contact_sheet([_styled(line[0]) for line in lines], [""] * ACROSS, tiles)


def _page(folder: Path, rows: Sequence[Row], states: States) -> str:
    title = f"{folder.absolute().name}: {_counted(rows, states)}"
    sections = [
        f"<h2>{escape(style)}</h2><ul>{''.join(_items(folder, same, states))}</ul>"
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


def _counted(rows: Iterable[Row], states: States) -> str:
    found = [_state(row, states) for row in rows]
    counts = {state: found.count(state) for state in ("drawn", "failed", "waiting")}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _items(folder: Path, rows: Iterable[Row], states: States) -> Iterator[str]:
    for row in rows:
        state, error = states.get(row.key, ("waiting", None))
        about = f"{escape(row.recipe.prompt)} <small>seed {row.recipe.seed}, {escape(row.place)}</small>"
        if state == "drawn":
            link = f'<a href="{quote(row.file)}">{_img(folder / row.file, row.recipe.prompt)}</a>'
            yield f"<li>{link}{about}</li>"
        else:
            yield f'<li>{about}<br><span class="error">{escape(error or state)}</span></li>'


def _img(path: Path, title: str) -> str:
    held = BytesIO()
    _small(path, THUMBNAIL).save(held, format="JPEG", quality=82)
    data = base64.b64encode(held.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(title)}">'


def _small(path: Path, side: int) -> Image.Image:
    """Made small one by one: all of them whole would fill the memory."""
    image = open_reference(path)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def _state(row: Row, states: States) -> str:
    return states.get(row.key, ("waiting", None))[0]


def _styled(row: Row) -> str:
    return _name(row.recipe) or "no style"


def _name(recipe: Recipe) -> str:
    references = (*recipe.references, *recipe.layout_references)
    return " + ".join(Path(reference.name).name for reference in references)
