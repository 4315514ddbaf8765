"""The report of an evaluation: one HTML file with curves, a table and the images behind each point."""

from collections.abc import Sequence
from typing import TypedDict

from markupsafe import Markup
from PIL import Image

from ..metrics.scorers import find_score
from ..utils.html import jpeg_data_url, render
from .curves import anchor_of, render_curves
from .experiment import Experiment
from .point import Point

STYLE_SCORES = ("look", "style")
"""Scores of how much of the reference's style is in an image. Each has its own curves."""
PROMPT_SCORES = ("text", "subject")
"""Scores of prompt fidelity; the first that a scorer gives is shown."""
LEAKAGE_SCORES = ("leak", "drawing")
"""Scores of content leakage; the first that a scorer gives is shown."""
THUMBNAIL = 88  # px
SHOWN = 6  # references and prompts of a point; all images are in the folder

_TEMPLATE = "evaluation/templates/report.html.jinja"


class _Plot(TypedDict):
    title: str
    curves: Markup


class _Thumbnail(TypedDict):
    title: str
    url: str


def render_report(experiment: Experiment, points: Sequence[Point]) -> str:
    """Render the report of an evaluation.

    Args:
        experiment: The experiment, whose images are read from its folder.
        points: A point for each arm and scale.

    Returns:
        HTML that needs no other file.
    """
    names = list(dict.fromkeys(name for point in points for name in point.scores))
    model = experiment.model or experiment.styled.architecture.title
    return render(
        _TEMPLATE,
        title=f"{model}: style against prompt fidelity and content leakage",
        references=len(experiment.references),
        prompts=experiment.prompts,
        seed=experiment.seed,
        scores=names,
        points=points,
        plots=_plots(points, names),
        anchors=[anchor_of(place) for place in range(len(points))],
        images=[_image_rows(experiment, point) for point in points],
        shown=SHOWN,
    )


def _plots(points: Sequence[Point], names: Sequence[str]) -> list[_Plot]:
    """Plot style against prompt fidelity and content leakage; nothing without a score of leakage."""
    leakage = find_score(LEAKAGE_SCORES, names)
    if leakage is None:
        return []
    costs = {"prompt fidelity": find_score(PROMPT_SCORES, names), "content leakage": leakage}
    return [
        {"title": f"Style against {cost}", "curves": render_curves(points, score, style)}
        for style in filter(None, (find_score([name], names) for name in STYLE_SCORES))
        for cost, score in costs.items()
        if score
    ]


def _image_rows(experiment: Experiment, point: Point) -> list[list[_Thumbnail]]:
    """Read the images behind a point: a row for each reference, a column for each prompt."""
    rows = []
    for arm, number in list(experiment.cells([point.setting.scaled_arm]))[:SHOWN]:
        reference = experiment.references[number]
        images = experiment.load_images(arm, number)[:SHOWN]
        titles = [f"{reference.name}: {prompt}" for prompt in experiment.prompts[:SHOWN]]
        rows.append([_thumbnail(reference.image, reference.name), *map(_thumbnail, images, titles)])
    return rows


def _thumbnail(image: Image.Image, title: str) -> _Thumbnail:
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return {"title": title, "url": jpeg_data_url(small)}
