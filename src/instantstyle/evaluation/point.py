"""From trials to points: each arm at each scale, mean scores with intervals over styles; and the files."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from ..metrics import interval
from ..utils.atomic_write import atomic_write
from ..utils.result_journal import ResultJournal
from .arms import SCALES, Setting, settings_of
from .experiment import NO_REFERENCE, Arm, Experiment, OnCell, of_arm, opened


@dataclass(frozen=True)
class Point:
    """An arm at a scale."""

    setting: Setting
    scores: Mapping[str, tuple[float, float, float]]
    """By score: mean over pictures, and the ends of its 95 % interval, by bootstrap over styles."""
    styles: int
    """With how many references it could be drawn; fewer than the others' where content is unknown."""


def evaluate(
    trials: Experiment,
    arms: Sequence[Arm],
    scales: Sequence[float] = SCALES,
    on_cell: OnCell | None = None,
) -> list[Point]:
    """Draw what is missing; write evaluate.json, scores.csv (a picture a row), points.csv and report.html."""
    from .report import report

    settings = settings_of([NO_REFERENCE, *(arm for arm in arms if arm.styled)], scales)
    journal = opened(trials, "evaluate.json")
    trials.run([setting.drawn for setting in settings], journal, on_cell)
    points = [point_of(trials, journal, setting) for setting in settings]
    journal.write(points=[_told(point) for point in points])
    _write(trials.folder / "scores.csv", _picture_rows(trials, journal, settings))
    _write(trials.folder / "points.csv", _point_rows(points))
    with atomic_write(trials.folder / "report.html", force=True) as draft:
        draft.write_text(report(trials, points), encoding="utf-8")
    return points


def point_of(trials: Experiment, journal: ResultJournal, setting: Setting) -> Point:
    """Means and intervals of one arm at one scale."""
    cells = [journal.cells[trials.key(setting.drawn, n)] for _, n in trials.cells([setting.drawn])]
    names = dict.fromkeys(name for cell in cells for name in cell)
    scores = {}
    for name in names:
        rows = of_arm(trials, journal, setting.drawn, name)
        values = torch.tensor([value for row in rows.values() for value in row])
        groups = torch.tensor([number for number, row in rows.items() for _ in row])
        scores[name] = (values.mean().item(), *interval(values, groups))
    return Point(setting, scores, len(cells))


def _told(point: Point) -> dict[str, Any]:
    return {
        "arm": point.setting.arm.name,
        "scale": point.setting.scale,
        "styles": point.styles,
        "scores": {name: [round(number, 4) for number in row] for name, row in point.scores.items()},
    }


def _picture_rows(trials: Experiment, journal: ResultJournal, settings: Sequence[Setting]) -> list[list[Any]]:
    names = list(dict.fromkeys(name for cell in journal.cells.values() for name in cell))
    rows: list[list[Any]] = [["arm", "scale", "reference", "prompt", *names]]
    for setting in settings:
        for arm, number in trials.cells([setting.drawn]):
            cell = journal.cells[trials.key(arm, number)]
            for place, prompt in enumerate(trials.prompts):
                told = [cell[name][place] if name in cell else "" for name in names]
                where = setting.arm.name, _scale(setting), trials.references[number].name, prompt
                rows.append([*where, *told])
    return rows


def _point_rows(points: Sequence[Point]) -> list[list[Any]]:
    names = list(dict.fromkeys(name for point in points for name in point.scores))
    columns = [f"{name}{end}" for name in names for end in ("", " low", " high")]
    rows: list[list[Any]] = [["arm", "scale", "styles", *columns]]
    for point in points:
        told = [f"{v:.4f}" if v != "" else "" for name in names for v in point.scores.get(name, ("",) * 3)]
        rows.append([point.setting.arm.name, _scale(point.setting), point.styles, *told])
    return rows


def _scale(setting: Setting) -> str:
    return "" if setting.scale is None else f"{setting.scale:g}"


def _write(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with atomic_write(path, force=True) as draft:
        draft.write_text(text.getvalue(), encoding="utf-8")
