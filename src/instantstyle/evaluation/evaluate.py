"""Evaluate arms at several scales, and write the tables and the report."""

from collections.abc import Sequence

from ..utils.atomic_write import atomic_write
from ..utils.csv_table import write_csv
from ..utils.result_journal import ResultJournal
from .arms import SCALES, Setting, combine_settings
from .experiment import NO_REFERENCE, Arm, Experiment, OnCell, open_journal
from .point import Point, compute_point
from .report import render_report


def evaluate(
    experiment: Experiment,
    arms: Sequence[Arm],
    scales: Sequence[float] = SCALES,
    on_cell: OnCell | None = None,
) -> list[Point]:
    """Generate and score what is missing, and write the results into the experiment's folder.

    The files are `evaluate.json`, `scores.csv` (a row for each image), `points.csv` (a row for each arm and
    scale) and `report.html`.

    Args:
        experiment: References, prompts and scorers.
        arms: Arms to compare. `NO_REFERENCE` is added.
        scales: Scales at which each arm with a reference is generated.
        on_cell: Called after each cell.

    Returns:
        A point for each arm and scale.

    Raises:
        JobError: The folder holds results of other settings, or cannot be created.
    """
    settings = combine_settings([NO_REFERENCE, *(arm for arm in arms if arm.styled)], scales)
    journal = open_journal(experiment, "evaluate.json")
    experiment.run([setting.scaled_arm for setting in settings], journal, on_cell)
    points = [compute_point(experiment, journal, setting) for setting in settings]
    journal.write(points=[_to_json(point) for point in points])
    write_csv(experiment.folder / "scores.csv", _score_rows(experiment, journal, settings))
    write_csv(experiment.folder / "points.csv", _point_rows(points))
    with atomic_write(experiment.folder / "report.html", force=True) as draft:
        draft.write_text(render_report(experiment, points), encoding="utf-8")
    return points


def _to_json(point: Point) -> dict[str, object]:
    return {
        "arm": point.setting.arm.name,
        "scale": point.setting.scale,
        "styles": point.styles,
        "scores": {name: [round(number, 4) for number in row] for name, row in point.scores.items()},
    }


def _score_rows(experiment: Experiment, journal: ResultJournal, settings: Sequence[Setting]) -> list[list[object]]:
    names = list(dict.fromkeys(name for cell in journal.cells.values() for name in cell))
    rows: list[list[object]] = [["arm", "scale", "reference", "prompt", *names]]
    for setting in settings:
        for arm, number in experiment.cells([setting.scaled_arm]):
            cell = journal.cells[experiment.cell_key(arm, number)]
            for place, prompt in enumerate(experiment.prompts):
                scores = [cell[name][place] if name in cell else "" for name in names]
                reference = experiment.references[number].name
                rows.append([setting.arm.name, _format_scale(setting), reference, prompt, *scores])
    return rows


def _point_rows(points: Sequence[Point]) -> list[list[object]]:
    names = list(dict.fromkeys(name for point in points for name in point.scores))
    columns = [f"{name}{end}" for name in names for end in ("", " low", " high")]
    rows: list[list[object]] = [["arm", "scale", "styles", *columns]]
    for point in points:
        scores = []
        for name in names:
            scores += [f"{value:.4f}" for value in point.scores[name]] if name in point.scores else [""] * 3
        rows.append([point.setting.arm.name, _format_scale(point.setting), point.styles, *scores])
    return rows


def _format_scale(setting: Setting) -> str:
    return "" if setting.scale is None else f"{setting.scale:g}"
