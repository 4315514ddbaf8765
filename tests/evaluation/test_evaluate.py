"""Arms × scales on the small random model: files that agree with each other, and one report."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from instantstyle import InstantStyle
from instantstyle.evaluation import Point, arms_of, evaluate
from instantstyle.evaluation.experiment import Experiment
from instantstyle.evaluation.report import report
from instantstyle.generation.inputs import ReferenceImage
from instantstyle.metrics import ByPixels, ByWords
from instantstyle.synthetic import as_image, sample_scenes

from ..conftest import make_pipe
from ..helpers import dice

TINY = {"num_inference_steps": 1, "height": 16, "width": 16}


@pytest.fixture(scope="module")
def trials(tokenizer_folder, state, image_encoder, tmp_path_factory) -> Experiment:
    styled = InstantStyle(make_pipe(tokenizer_folder), adapter=state, image_encoder=image_encoder)
    reader = styled.text_encoder
    assert reader
    shown = [as_image(picture) for picture in sample_scenes(2, dice(0)).pictures(64)]
    references = [ReferenceImage("ink & co.png", shown[0], "a cat"), ReferenceImage("oil.png", shown[1])]
    scorers = [ByWords(styled.image_encoder, reader, "small CLIP"), ByPixels()]
    folder = tmp_path_factory.mktemp("evaluate") / "results"
    return Experiment(styled, references, ["a", "b"], scorers, folder, "<small>", arguments=TINY)


@pytest.fixture(scope="module")
def points(trials) -> list[Point]:
    arms = arms_of(["style", "removed"], trials.styled.architecture, ["a cat", None])
    return evaluate(trials, arms, [0.0, 1.0])


def test_there_is_a_point_for_each_arm_and_scale(points):
    assert [(point.setting.arm.name, point.setting.scale, point.styles) for point in points] == [
        ("no reference", None, 2),
        ("style blocks", 0.0, 2),
        ("style blocks", 1.0, 2),
        ("style blocks, content removed", 0.0, 1),
        ("style blocks, content removed", 1.0, 1),
    ]


def test_arms_share_their_seeds(points):
    """At scale 0 a style arm is the plain pipeline."""
    plain, zero, one, *_ = points
    assert zero.scores == plain.scores
    assert one.scores["look (pixels)"] != plain.scores["look (pixels)"]


def test_a_mean_lies_in_its_interval(points):
    for point in points:
        for mean, low, high in point.scores.values():
            assert low - 1e-6 <= mean <= high + 1e-6


def test_style_never_stands_without_its_price(points):
    for point in points:
        assert {"look (pixels)", "drawing (pixels)", "text (small CLIP)"} <= point.scores.keys()


def test_tables_and_json_say_the_same(points, trials):
    with (trials.folder / "scores.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["arm"], row["scale"]) == ("style blocks", "1")]
    with (trials.folder / "points.csv").open() as file:
        table = list(csv.DictReader(file))
    held = json.loads((trials.folder / "evaluate.json").read_text())["points"][2]
    mean = sum(float(row["look (pixels)"]) for row in rows) / len(rows)
    assert (len(rows), len(table)) == (4, 5)
    assert held["scores"]["look (pixels)"][0] == pytest.approx(mean, abs=1e-3)
    assert float(table[2]["look (pixels)"]) == pytest.approx(mean, abs=1e-3)


class Strict(HTMLParser):
    """Fails where an element is closed that is not the open one."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_needs_no_other_file_and_is_well_formed(points, trials):
    page = (trials.folder / "report.html").read_text()
    parser = Strict()
    parser.feed(re.sub(r"<(path|circle)([^>]*)/>", r"<\1\2></\1>", page))
    assert parser.open == []
    assert not re.search(r"<script|<link|(src|href)=\"(?!data:|#)", page)
    assert "&lt;small&gt;" in page
    assert "ink &amp; co.png" in page


def test_the_report_has_both_curves_and_the_pictures_behind_each_point(points, trials):
    page = (trials.folder / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "Style against text" in page
    assert "Style against leakage" in page
    # Styled references whose content is unknown have no leak by words, yet they have a point.
    assert page.count("<circle") >= 5
    assert page.count("<details>") == len(points)
    assert page.count("<img") == 3 * (2 + 2 + 2 + 1 + 1)


def test_every_point_of_a_curve_leads_to_its_pictures(points, trials):
    page = (trials.folder / "report.html").read_text()
    links = re.findall(r'<a href="#([\w-]+)">.*?<title>([^:]*):', page)
    for name, title in links:
        behind = page.index(f'id="{name}"')
        assert page.rindex("<summary>", 0, behind) == page.rindex(f"<summary>{title}</summary>", 0, behind)
    assert len({name for name, _ in links}) == len(points)


def test_each_style_score_has_its_curves_and_none_without_leakage(points, trials):
    """As with --csd, beside the look by pixels; and where no scorer tells leakage at all."""
    seen = [replace(one, scores={**one.scores, "style (CSD)": one.scores["look (pixels)"]}) for one in points]
    assert report(trials, seen).count("<svg") == 4
    blind = [
        replace(one, scores={name: one.scores[name] for name in ("look (pixels)", "text (small CLIP)")})
        for one in points
    ]
    assert "<svg" not in report(trials, blind)
    assert "No scorer tells leakage" in report(trials, blind)


def test_it_is_taken_up_where_it_was_left(points, trials, monkeypatch):
    told = []
    monkeypatch.setattr(trials.styled.pipe, "unet", None)
    arms = arms_of(["style"], trials.styled.architecture, ["a cat", None])
    again = evaluate(trials, arms, [1.0], lambda done, cells: told.append((done, cells)))
    assert [point.scores for point in again] == [points[0].scores, points[2].scores]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("name", ["style-mask", "style-clean", "style-negative", "precise-style"])
def test_a_cure_is_drawn_as_a_call_draws_it(points, trials, name):
    [_, arm] = arms_of([name], trials.styled.architecture, ["a cat", None])
    ink, oil = (reference.image for reference in trials.references)
    call = {
        "style-mask": {"content": "a cat", "removal": "mask"},
        "style-clean": {"removal": "clean"},
        "style-negative": {"negative_style": oil},
        "precise-style": {"blocks": "precise-style"},
    }[name]
    wanted = trials.styled(["a", "b"], style=ink, seed=0, **call, **TINY).images
    drawn = trials.drawn(arm, 0)
    assert [one.tobytes() for one in drawn] == [one.tobytes() for one in wanted]
    assert drawn[0].tobytes() != trials.styled("a", style=ink, seed=0, **TINY).images[0].tobytes()


def test_pictures_are_kept_as_they_were_drawn(points, trials):
    [first, *_] = trials.picture_paths(points[0].setting.drawn, 0)
    with Image.open(first) as picture:
        assert picture.size == (16, 16)
