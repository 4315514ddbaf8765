"""The report: one HTML file that needs no other: curves, the table, the pictures behind each point."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO

from PIL import Image

from ..metrics.scorers import first_named
from .curves import anchor, curves, titled
from .experiment import Experiment
from .point import Point

STYLE = ("look", "style")
"""Names under which scorers tell how much of the reference's style is there; each of them has its curves."""
TEXT = ("text", "subject")
LEAK = ("leak", "drawing")
THUMBNAIL = 88  # px
SHOWN = 6  # references and prompts a point: beyond these, the pictures are in the folder

_CSS = """
body{font:15px/1.45 sans-serif;color:#222;max-width:1120px;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;font-size:13px}
th,td{padding:3px 8px;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}.pair{display:flex;flex-wrap:wrap;gap:24px}
.legend span{margin-right:1em;font-size:13px;white-space:nowrap}
.legend i{display:inline-block;width:10px;height:10px;border-radius:5px;margin-right:4px}
summary{cursor:pointer;padding:4px 0}.grid td,.grid th{padding:2px;border:0;text-align:center}
.scroll{overflow-x:auto}img{display:block}
"""


def report(trials: Experiment, points: Sequence[Point]) -> str:
    """The file's text."""
    names = list(dict.fromkeys(name for point in points for name in point.scores))
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><meta charset="utf-8"><title>{escape(_title(trials))}</title>',
        f"<style>{_CSS}</style>",
        f"<h1>{escape(_title(trials))}</h1>",
        f"<p>{escape(_protocol(trials))}</p>",
        f'<div class="pair">{_tradeoffs(points, names)}</div>',
        f"<h2>Scores</h2>{_table(points, names)}",
        "<h2>Pictures</h2>",
        *(_pictures(trials, point, anchor(place)) for place, point in enumerate(points)),
        "</html>\n",
    ]
    return "\n".join(parts)


def _title(trials: Experiment) -> str:
    return f"{trials.model or trials.styled.architecture.title}: style against its price"


def _protocol(trials: Experiment) -> str:
    return (
        f"{len(trials.references)} styles × {len(trials.prompts)} prompts, equal seeds in every arm (from "
        f"{trials.seed}); means over pictures, with 95 % intervals by bootstrap over styles. Each score "
        "names its model. A style score alone says little: what it costs stands beside it."
    )


def _tradeoffs(points: Sequence[Point], names: Sequence[str]) -> str:
    """Style against text, and style against leakage: where no scorer tells leakage, no style is drawn."""
    leak = first_named(LEAK, names)
    if leak is None:
        return "<p>No scorer tells leakage, without which a style says nothing: no curves.</p>"
    prices = (("Style against text", first_named(TEXT, names)), ("Style against leakage", leak))
    return "".join(
        f"<div><h2>{told}</h2>{curves(points, across, style)}</div>"
        for style in filter(None, (first_named([word], names) for word in STYLE))
        for told, across in prices
        if across
    )


def _table(points: Sequence[Point], names: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in ("arm", "styles", *names))
    rows = "".join(f"<tr>{_row(point, names)}</tr>" for point in points)
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def _row(point: Point, names: Sequence[str]) -> str:
    cells = [escape(titled(point)), str(point.styles)]
    for name in names:
        mean = point.scores.get(name)
        cells.append("–" if mean is None else "{:.3f} ({:.3f}–{:.3f})".format(*mean))
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _pictures(trials: Experiment, point: Point, name: str) -> str:
    """Behind a point: a row for each reference, a column for each prompt.

    The id stands inside of what is folded, so that browsers unfold it for whoever comes by a link.
    """
    prompts = trials.prompts[:SHOWN]
    head = "".join(f"<th>{escape(prompt)}</th>" for prompt in ("reference", *prompts))
    rows = []
    for arm, number in list(trials.cells([point.setting.drawn]))[:SHOWN]:
        reference = trials.references[number]
        shown = [reference.image, *trials.pictures(arm, number)[:SHOWN]]
        titles = [reference.name, *(f"{reference.name}: {prompt}" for prompt in prompts)]
        cells = "".join(f"<td>{_img(*pair)}</td>" for pair in zip(shown, titles, strict=True))
        rows.append(f"<tr>{cells}</tr>")
    table = (
        f'<div class="scroll" id="{name}"><table class="grid"><tr>{head}</tr>{"".join(rows)}</table></div>'
    )
    return f"<details><summary>{escape(titled(point))}</summary>{table}</details>"


def _img(picture: Image.Image, title: str) -> str:
    small = picture.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    held = BytesIO()
    small.save(held, format="JPEG", quality=82)
    data = base64.b64encode(held.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(title)}" title="{escape(title)}">'
