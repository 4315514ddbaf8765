"""Arms × scales on the small random model: consistent files, and the report."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import pytest
from PIL import Image

from instantstyle import InstantStyle
from instantstyle.evaluation import Point, evaluate, select_arms
from instantstyle.evaluation.experiment import CELL_KEY, NO_REFERENCE, Experiment, open_journal
from instantstyle.evaluation.report import render_report
from instantstyle.generation.inputs import ReferenceImage
from instantstyle.imaging.png_metadata import write_png
from instantstyle.metrics import PixelScorer, TextScorer
from instantstyle.synthetic import sample_scenes, to_pil_image

from ..conftest import make_pipe
from ..helpers import seeded_generator

TINY = {"num_inference_steps": 1, "height": 16, "width": 16}


@pytest.fixture(scope="module")
def experiment(tokenizer_folder, state, image_encoder, tmp_path_factory) -> Experiment:
    styled = InstantStyle(make_pipe(tokenizer_folder), adapter=state, image_encoder=image_encoder)
    text_encoder = styled.text_encoder
    assert text_encoder
    images = [to_pil_image(image) for image in sample_scenes(2, seeded_generator(0)).render(64)]
    references = [ReferenceImage("ink & co.png", images[0], "a cat"), ReferenceImage("oil.png", images[1])]
    scorers = [TextScorer(styled.image_encoder, text_encoder, "small CLIP"), PixelScorer()]
    folder = tmp_path_factory.mktemp("evaluate") / "results"
    return Experiment(styled, references, ["a", "b"], scorers, folder, "<small>", arguments=TINY)


@pytest.fixture(scope="module")
def points(experiment) -> list[Point]:
    arms = select_arms(["style", "removed"], experiment.styled.architecture, ["a cat", None])
    return evaluate(experiment, arms, [0.0, 1.0])


def test_there_is_a_point_for_each_arm_and_scale(points):
    assert [(point.setting.arm.name, point.setting.scale, point.styles) for point in points] == [
        ("no reference", None, 2),
        ("style blocks", 0.0, 2),
        ("style blocks", 1.0, 2),
        ("style blocks, content removed", 0.0, 1),
        ("style blocks, content removed", 1.0, 1),
    ]


def test_arms_share_their_seeds(points):
    """At scale 0 an arm with a style equals the plain pipeline."""
    plain, zero, one, *_ = points
    assert zero.scores == plain.scores
    assert one.scores["look (pixels)"] != plain.scores["look (pixels)"]


def test_a_mean_lies_in_its_interval(points):
    for point in points:
        for mean, low, high in point.scores.values():
            assert low - 1e-6 <= mean <= high + 1e-6


def test_every_style_score_comes_with_scores_of_leakage_and_text(points):
    for point in points:
        assert {"look (pixels)", "drawing (pixels)", "text (small CLIP)"} <= point.scores.keys()


def test_tables_and_json_hold_the_same_values(points, experiment):
    with (experiment.folder / "scores.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["arm"], row["scale"]) == ("style blocks", "1")]
    with (experiment.folder / "points.csv").open() as file:
        table = list(csv.DictReader(file))
    held = json.loads((experiment.folder / "evaluate.json").read_text())["points"][2]
    mean = sum(float(row["look (pixels)"]) for row in rows) / len(rows)
    assert (len(rows), len(table)) == (4, 5)
    assert held["scores"]["look (pixels)"][0] == pytest.approx(mean, abs=1e-3)
    assert float(table[2]["look (pixels)"]) == pytest.approx(mean, abs=1e-3)


class StrictParser(HTMLParser):
    """A parser that fails where a closed element is not the one that was opened last."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_needs_no_other_file_and_is_well_formed(points, experiment):
    page = (experiment.folder / "report.html").read_text()
    parser = StrictParser()
    parser.feed(re.sub(r"<(path|circle)([^>]*)/>", r"<\1\2></\1>", page))
    assert parser.open == []
    assert not re.search(r"<script|<link|(src|href)=\"(?!data:|#)", page)
    assert "&lt;small&gt;" in page
    assert "ink &amp; co.png" in page


def test_the_report_has_both_curves_and_the_images_of_each_point(points, experiment):
    page = (experiment.folder / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "Style against prompt fidelity" in page
    assert "Style against content leakage" in page
    # References with unknown content have no leakage by text; the other scores still give them a point.
    assert page.count("<circle") >= 5
    assert page.count("<details>") == len(points)
    assert page.count("<img") == 3 * (2 + 2 + 2 + 1 + 1)


def test_every_point_of_a_curve_links_to_its_images(points, experiment):
    page = (experiment.folder / "report.html").read_text()
    links = re.findall(r'<a href="#([\w-]+)">.*?<title>([^:]*):', page)
    for name, title in links:
        behind = page.index(f'id="{name}"')
        assert page.rindex("<summary>", 0, behind) == page.rindex(f"<summary>{title}</summary>", 0, behind)
    assert len({name for name, _ in links}) == len(points)


def test_each_style_score_has_its_curves_and_none_without_leakage(points, experiment):
    """Two style scores, as with --csd, give four curves; without a score of leakage there are none."""
    with_csd = [replace(one, scores={**one.scores, "style (CSD)": one.scores["look (pixels)"]}) for one in points]
    assert render_report(experiment, with_csd).count("<svg") == 4
    without_leakage = [
        replace(one, scores={name: one.scores[name] for name in ("look (pixels)", "text (small CLIP)")})
        for one in points
    ]
    assert "<svg" not in render_report(experiment, without_leakage)
    assert "no scorer measures content leakage" in render_report(experiment, without_leakage)


def test_an_evaluation_is_resumed_without_generating_again(points, experiment, monkeypatch):
    calls = []
    monkeypatch.setattr(experiment.styled.pipe, "unet", None)
    arms = select_arms(["style"], experiment.styled.architecture, ["a cat", None])
    again = evaluate(experiment, arms, [1.0], lambda done, cells: calls.append((done, cells)))
    assert [point.scores for point in again] == [points[0].scores, points[2].scores]
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def foreign_png(texts: dict[str, str]) -> bytes:
    file = BytesIO()
    write_png(Image.new("RGB", (16, 16)), file, texts=texts)
    return file.getvalue()


DAMAGE = {
    "absent": None,
    "empty": lambda data, other: b"",
    "header only": lambda data, other: data[:33],
    "cut": lambda data, other: data[:-20],
    "changed within": lambda data, other: data.replace(b"IDAT", b"IDAT\1", 1),
    "text": lambda data, other: b"not an image " * 99,
    "of another program": lambda data, other: foreign_png({}),
    "of another prompt": lambda data, other: other,
    "of an earlier version": lambda data, other: foreign_png({CELL_KEY: "style blocks × 1 | oil.png"}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_or_foreign_image_counts_as_not_generated(points, experiment, damage):
    arm = points[2].setting.scaled_arm
    cells = list(experiment.cells([NO_REFERENCE, arm]))
    path, other = experiment.image_paths(arm, 1)
    before = path.read_bytes()
    generated = []

    class Counting(Experiment):
        def generate_images(self, arm, number, styles=None):
            generated.append((arm.name, number))
            return super().generate_images(arm, number, styles)

    counting = Counting(**vars(experiment))
    journal = open_journal(experiment, "evaluate.json")
    counting.run([NO_REFERENCE, arm], journal)
    assert generated == []
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(before, other.read_bytes()))
    counting.run([NO_REFERENCE, arm], journal)
    assert generated == [(arm.name, 1)]
    assert (arm, 1) in cells
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["style-mask", "style-clean", "style-negative", "precise-style"])
def test_a_removal_arm_equals_a_call_with_its_arguments(points, experiment, name):
    [_, arm] = select_arms([name], experiment.styled.architecture, ["a cat", None])
    ink, oil = (reference.image for reference in experiment.references)
    call = {
        "style-mask": {"content": "a cat", "removal": "mask"},
        "style-clean": {"removal": "clean"},
        "style-negative": {"negative_style": oil},
        "precise-style": {"blocks": "precise-style"},
    }[name]
    expected = experiment.styled(["a", "b"], style=ink, seed=0, **call, **TINY).images
    images = experiment.generate_images(arm, 0)
    assert [image.tobytes() for image in images] == [image.tobytes() for image in expected]
    assert images[0].tobytes() != experiment.styled("a", style=ink, seed=0, **TINY).images[0].tobytes()


def test_images_are_saved_at_their_size(points, experiment):
    [first, *_] = experiment.image_paths(points[0].setting.scaled_arm, 0)
    with Image.open(first) as image:
        assert image.size == (16, 16)
