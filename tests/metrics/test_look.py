"""Style scores without a network depend only on the look; `drawing` depends on the content."""

from dataclasses import replace

import pytest
import torch
from PIL import Image, ImageOps

from instantstyle.metrics import (
    LookScores,
    brightness,
    composition,
    palette,
    score_consistency,
    score_look,
    texture,
)
from instantstyle.metrics.look import compare_pair, extract_features
from instantstyle.metrics.pixels import common_side, srgb_to_oklab
from instantstyle.synthetic import Scenes, sample_scenes, to_pil_image

from ..helpers import seeded_generator

COUNT = 10


def render_images(scenes: Scenes) -> list[Image.Image]:
    return [to_pil_image(image) for image in scenes.render(64)]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_scenes(COUNT, seeded_generator(3), held_out=None)


@pytest.fixture(scope="module")
def others() -> Scenes:
    return sample_scenes(COUNT, seeded_generator(4), held_out=None)


@pytest.fixture(scope="module")
def reference(scenes) -> Image.Image:
    return render_images(scenes)[0]


def means(mine: Scenes, references: Scenes) -> dict[str, float]:
    """Return the mean of each score over pairs of scenes."""
    pairs = zip(render_images(mine), render_images(references), strict=True)
    rows = [score_look([image], reference).to_dict() for image, reference in pairs]
    return {name: sum(row[name][0] for row in rows) / len(rows) for name in rows[0]}


def test_an_image_scores_1_against_itself(reference):
    scores = score_look([reference], reference).to_dict()
    assert scores.keys() == {"look", "palette", "texture", "light", "drawing", "layout"}
    assert [value for [value] in scores.values()] == pytest.approx([1] * 6, abs=1e-4)


def test_the_same_look_with_other_content_scores_high_in_style_only(scenes, others):
    same_look = means(replace(others, look=scenes.look), scenes)
    assert same_look["palette"] > 0.75
    assert same_look["light"] > 0.5
    assert same_look["look"] > 0.5
    assert same_look["drawing"] < 0.35


def test_the_same_content_in_another_look_scores_high_in_leakage_only(scenes, others):
    same_thing = means(replace(scenes, look=others.look), scenes)
    assert same_thing["drawing"] > 0.6
    assert same_thing["layout"] > 0.7
    assert same_thing["look"] < 0.4


@pytest.mark.parametrize("flip", [ImageOps.mirror, ImageOps.flip])
def test_flipping_keeps_the_look_and_lowers_the_drawing(flip, reference):
    scores = score_look([flip(reference)], reference)
    for part in ("palette", "texture", "light"):
        assert getattr(scores, part).item() == pytest.approx(1, abs=0.03), part
    assert scores.drawing.item() < 0.9


def test_cutting_off_the_border_hardly_changes_the_look(scenes):
    """A mean over scenes: where a thing touches the border, part of it is cut off."""
    cut = [score_look([ImageOps.crop(image, 4)], image) for image in render_images(scenes)]
    for part, least in (("palette", 0.7), ("light", 0.7), ("texture", 0.4)):
        assert sum(getattr(scores, part).item() for scores in cut) / len(cut) > least, part


def test_other_colours_lower_the_palette_more_than_the_texture(reference):
    red, green, blue = [reference.convert("L")] * 3
    tinted = Image.merge("RGB", [red, green.point(lambda v: v * 0.7), blue.point(lambda v: v * 0.4)])
    other = Image.merge("RGB", [*reversed(tinted.split())])
    scores = score_look([other], tinted)
    assert scores.palette.item() < 0.6
    assert scores.palette.item() < scores.texture.item() - 0.2


def test_a_darker_image_lowers_the_light_and_keeps_the_drawing(reference):
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


def test_the_scores_of_unrelated_images_are_as_stated():
    """All pairs of 32 scenes of the synthetic dataset; the stated values were measured on 200, seed 0."""
    features = [
        extract_features(image, 64) for image in render_images(sample_scenes(32, seeded_generator(0), held_out=None))
    ]
    pairs = [(one, other) for number, one in enumerate(features) for other in features[:number]]

    def mean(compare, part: str) -> float:
        return sum(compare(getattr(one, part), getattr(other, part)) for one, other in pairs) / len(pairs)

    for part, module in (("palette", palette), ("texture", texture), ("light", brightness)):
        assert mean(module.distance, part) == pytest.approx(module.UNRELATED_DISTANCE, rel=0.25), part
    for part, unrelated in composition.UNRELATED_SIMILARITY.items():
        assert mean(composition.similarity, part) == pytest.approx(unrelated, abs=0.12), part


def test_a_look_is_the_mean_of_its_parts_and_comes_with_leakage():
    half = torch.tensor([0.5])
    scores = LookScores(half, half + 0.3, half - 0.3, drawing=half, layout=half)
    assert scores.look.tolist() == pytest.approx([0.5])
    assert {"look", "drawing"} <= scores.to_dict().keys()


def test_a_set_in_one_look_is_more_consistent_than_one_in_many(scenes, others):
    one = replace(others, look=scenes.look[[0] * COUNT])
    assert (
        score_consistency(render_images(one)[:4])["look"] > score_consistency(render_images(others)[:4])["look"] + 0.3
    )


def test_a_single_image_has_no_consistency(reference):
    assert score_consistency([reference]) == {}


def test_images_of_any_shape_and_mode_are_compared():
    strip, dot, grey = Image.new("RGB", (300, 9), "red"), Image.new("RGB", (1, 1)), Image.new("L", (40, 900))
    for scores in (score_look([strip, dot], grey), score_look([grey], dot)):
        assert all(torch.tensor(row).isfinite().all() for row in scores.to_dict().values())


def test_images_are_compared_at_the_size_of_the_smallest():
    small, large = Image.new("RGB", (80, 80)), Image.new("RGB", (1024, 1024))
    assert (common_side([small, large]), common_side([large])) == (80, 128)


def test_oklab_equals_its_authors_values():
    """Values of sRGB red and white: bottosson.github.io/posts/oklab."""
    red = srgb_to_oklab(torch.tensor([1.0, 0, 0]).view(3, 1, 1)).flatten().tolist()
    white = srgb_to_oklab(torch.ones(3, 1, 1)).flatten().tolist()
    assert red == pytest.approx([0.628, 0.2249, 0.1258], abs=1e-3)
    assert white == pytest.approx([1, 0, 0], abs=1e-3)


def test_comparing_a_pair_is_symmetric(scenes):
    one, two = (extract_features(image, 64) for image in render_images(scenes)[:2])
    assert compare_pair(one, two) == pytest.approx(compare_pair(two, one))
