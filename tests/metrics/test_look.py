"""Style scores without a network follow the look and nothing else; the drawing follows what is shown."""

from dataclasses import replace

import pytest
import torch
from PIL import Image, ImageOps

from instantstyle.metrics import LookScores, composition, score_consistency, score_look, palette, texture
from instantstyle.metrics import brightness as light
from instantstyle.metrics.look import compare_pair, extract_features
from instantstyle.metrics.pixels import common_side, srgb_to_oklab
from instantstyle.synthetic import Scenes, to_pil_image, sample_scenes

from ..helpers import dice

COUNT = 10


def pictures(scenes: Scenes) -> list[Image.Image]:
    return [to_pil_image(picture) for picture in scenes.render(64)]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_scenes(COUNT, dice(3), held_out=None)


@pytest.fixture(scope="module")
def others() -> Scenes:
    return sample_scenes(COUNT, dice(4), held_out=None)


@pytest.fixture(scope="module")
def reference(scenes) -> Image.Image:
    return pictures(scenes)[0]


def means(mine: Scenes, references: Scenes) -> dict[str, float]:
    """Each score's mean over pairs."""
    pairs = zip(pictures(mine), pictures(references), strict=True)
    rows = [score_look([picture], reference).to_dict() for picture, reference in pairs]
    return {name: sum(row[name][0] for row in rows) / len(rows) for name in rows[0]}


def test_a_picture_is_wholly_like_itself(reference):
    named = score_look([reference], reference).to_dict()
    assert named.keys() == {"look", "palette", "texture", "light", "drawing", "layout"}
    assert [value for [value] in named.values()] == pytest.approx([1] * 6, abs=1e-4)


def test_the_same_look_of_another_thing_scores_high_and_is_no_leak(scenes, others):
    same_look = means(replace(others, look=scenes.look), scenes)
    assert same_look["palette"] > 0.75
    assert same_look["light"] > 0.5
    assert same_look["look"] > 0.5
    assert same_look["drawing"] < 0.35


def test_the_same_thing_in_another_look_is_a_leak_and_no_style(scenes, others):
    same_thing = means(replace(scenes, look=others.look), scenes)
    assert same_thing["drawing"] > 0.6
    assert same_thing["layout"] > 0.7
    assert same_thing["look"] < 0.4


@pytest.mark.parametrize("turned", [ImageOps.mirror, ImageOps.flip])
def test_a_style_does_not_change_in_a_mirror_but_a_drawing_does(turned, reference):
    scores = score_look([turned(reference)], reference)
    for part in ("palette", "texture", "light"):
        assert getattr(scores, part).item() == pytest.approx(1, abs=0.03), part
    assert scores.drawing.item() < 0.9


def test_a_style_hardly_changes_when_the_border_is_cut_off(scenes):
    """On the mean of all scenes: where a thing touches the border, some of its light is cut off with it."""
    cut = [score_look([ImageOps.crop(picture, 4)], picture) for picture in pictures(scenes)]
    for part, least in (("palette", 0.7), ("light", 0.7), ("texture", 0.4)):
        assert sum(getattr(scores, part).item() for scores in cut) / len(cut) > least, part


def test_other_colours_lower_the_palette_more_than_the_texture(reference):
    red, green, blue = [reference.convert("L")] * 3
    tinted = Image.merge("RGB", [red, green.point(lambda v: v * 0.7), blue.point(lambda v: v * 0.4)])
    other = Image.merge("RGB", [*reversed(tinted.split())])
    scores = score_look([other], tinted)
    assert scores.palette.item() < 0.6
    assert scores.palette.item() < scores.texture.item() - 0.2


def test_a_darker_picture_lowers_the_light_and_keeps_the_drawing(reference):
    scores = score_look([reference.point(lambda value: value * 0.6)], reference)
    assert scores.light.item() < 0.5
    assert scores.drawing.item() > 0.8


def test_stripes_lower_the_texture_and_not_the_light():
    plain = Image.new("RGB", (96, 96), (128, 128, 128))
    stripes = plain.copy()
    for column in range(0, 96, 6):
        stripes.paste((140, 140, 140), (column, 0, column + 3, 96))
    scores = score_look([stripes], plain)
    assert scores.texture.item() < 0.2
    assert scores.light.item() > 0.8


def test_what_unrelated_means_was_measured():
    """Over all pairs of scenes of the small world; the figures beside the scores are of 200, seed 0."""
    seen = [extract_features(picture, 64) for picture in pictures(sample_scenes(32, dice(0), held_out=None))]
    pairs = [(mine, other) for place, mine in enumerate(seen) for other in seen[:place]]

    def mean(apart, part: str) -> float:
        return sum(apart(getattr(mine, part), getattr(other, part)) for mine, other in pairs) / len(pairs)

    for part, module in (("palette", palette), ("texture", texture), ("light", light)):
        assert mean(module.apart, part) == pytest.approx(module.UNRELATED, rel=0.25), part
    for part, usual in composition.UNRELATED_SIMILARITY.items():
        assert mean(composition.similarity, part) == pytest.approx(usual, abs=0.12), part


def test_a_look_is_the_mean_of_its_parts_and_names_the_leak_beside_it():
    half = torch.tensor([0.5])
    scores = LookScores(half, half + 0.3, half - 0.3, drawing=half, layout=half)
    assert scores.look.tolist() == pytest.approx([0.5])
    assert {"look", "drawing"} <= scores.to_dict().keys()


def test_a_set_in_one_look_is_more_consistent_than_one_in_many(scenes, others):
    one = replace(others, look=scenes.look[[0] * COUNT])
    assert score_consistency(pictures(one)[:4])["look"] > score_consistency(pictures(others)[:4])["look"] + 0.3


def test_of_a_single_picture_no_consistency_is_known(reference):
    assert score_consistency([reference]) == {}


def test_pictures_of_any_shape_and_mode_are_compared():
    strip, dot, grey = Image.new("RGB", (300, 9), "red"), Image.new("RGB", (1, 1)), Image.new("L", (40, 900))
    for scores in (score_look([strip, dot], grey), score_look([grey], dot)):
        assert all(torch.tensor(row).isfinite().all() for row in scores.to_dict().values())


def test_pictures_are_compared_at_the_size_of_the_smallest():
    small, large = Image.new("RGB", (80, 80)), Image.new("RGB", (1024, 1024))
    assert (common_side([small, large]), common_side([large])) == (80, 128)


def test_oklab_is_that_of_its_author():
    """Reference values: bottosson.github.io/posts/oklab, of sRGB red and white."""
    red = srgb_to_oklab(torch.tensor([1.0, 0, 0]).view(3, 1, 1)).flatten().tolist()
    white = srgb_to_oklab(torch.ones(3, 1, 1)).flatten().tolist()
    assert red == pytest.approx([0.628, 0.2249, 0.1258], abs=1e-3)
    assert white == pytest.approx([1, 0, 0], abs=1e-3)


def test_likeness_is_the_same_from_both_sides(scenes):
    one, two = (extract_features(picture, 64) for picture in pictures(scenes)[:2])
    assert compare_pair(one, two) == pytest.approx(compare_pair(two, one))
