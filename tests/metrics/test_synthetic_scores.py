"""Scores on the synthetic dataset, from a classifier with fixed predictions."""

from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from instantstyle.metrics import (
    Predictions,
    SyntheticClassifier,
    SyntheticScores,
    attribute_labels,
    bootstrap_interval,
    score_synthetic,
)
from instantstyle.metrics.classifier import CLASS_COUNTS
from instantstyle.metrics.synthetic_scores import compare_within_set, match_palettes
from instantstyle.synthetic import THINGS, Scenes, sample_scenes

from ..helpers import seeded_generator

IMAGES = torch.zeros(8, 3, 64, 64)


class FixedClassifier(SyntheticClassifier):
    """A classifier that predicts the same scenes for any images."""

    def __init__(self, scenes: Scenes) -> None:
        super().__init__(widths=(8,) * 4)
        self.scenes = scenes

    def forward(self, images: Tensor) -> Predictions:
        logits = {
            name: F.one_hot(labels, CLASS_COUNTS[name]).float()
            for name, labels in attribute_labels(self.scenes).items()
        }
        return Predictions(logits, self.scenes.look.palette)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    """Scenes with eight different things."""
    return replace(sample_scenes(8, seeded_generator(0)), thing=torch.arange(8))


@pytest.fixture(scope="module")
def others(scenes) -> Scenes:
    """Another scene for each, which differs in every attribute."""
    look, layout = scenes.look, scenes.layout
    look = replace(
        look,
        ground=(look.ground + 1) % CLASS_COUNTS["ground"],
        fill=(look.fill + 1) % CLASS_COUNTS["fill"],
        outline=(look.outline + 1) % CLASS_COUNTS["outline"],
        palette=look.palette.roll(1, 0),
    )
    layout = replace(layout, category=(layout.category + 1) % CLASS_COUNTS["layout"])
    return Scenes(scenes.thing + 8, look, layout)


def test_the_reference_itself_has_full_style_and_leakage_scores(scenes, others):
    scores = score_synthetic(IMAGES, others.thing, scenes, FixedClassifier(scenes))
    assert scores.means() == pytest.approx(
        dict(asked=0, leak=1, layout=1, ground=1, fill=1, outline=1, palette=1, look=1)
    )


def test_the_requested_thing_in_another_look_scores_only_in_prompt_fidelity(scenes, others):
    means = score_synthetic(IMAGES, others.thing, scenes, FixedClassifier(others)).means()
    assert means.pop("asked") == 1
    assert max(means.pop("palette"), means.pop("look")) < 0.3
    assert set(means.values()) == {0}


def test_each_image_is_scored_against_its_own_reference(scenes, others):
    mixed = scenes.where(torch.arange(8) < 3, others)
    scores = score_synthetic(IMAGES, others.thing, scenes, FixedClassifier(mixed))
    for name in ("leak", "layout", "ground", "fill", "outline"):
        assert getattr(scores, name).tolist() == [1] * 3 + [0] * 5
    assert scores.asked.tolist() == [0] * 3 + [1] * 5


def test_a_look_is_the_mean_of_its_four_parts():
    parts = {field.name: torch.zeros(2) for field in fields(SyntheticScores)}
    scores = SyntheticScores(**{**parts, "ground": torch.tensor([1.0, 0.0]), "palette": torch.tensor([0.6, -0.2])})
    assert scores.look.tolist() == pytest.approx([0.4, -0.05])


def test_the_references_own_colours_match_fully():
    palette = torch.rand(20, 5, 3, generator=seeded_generator(0))
    assert match_palettes(palette, palette).tolist() == [1] * 20


def test_the_colours_of_other_references_do_not_match_on_average():
    palette = torch.rand(400, 5, 3, generator=seeded_generator(0))
    shuffled = palette[torch.randperm(400, generator=seeded_generator(1))]
    assert match_palettes(shuffled, palette).mean() == pytest.approx(0, abs=0.05)


def test_ink_and_second_colours_are_ignored():
    palette = torch.rand(6, 5, 3, generator=seeded_generator(0))
    repainted = palette.clone()
    repainted[:, [1, 3, 4]] = 0.5
    assert match_palettes(repainted, palette).tolist() == [1] * 6


def predictions_of(scenes: Scenes) -> Predictions:
    return FixedClassifier(scenes)(IMAGES[: len(scenes)])


def test_one_look_on_many_things_is_consistent_and_repeats_nothing(scenes):
    first = torch.zeros(8, dtype=torch.long)
    scores = compare_within_set(predictions_of(replace(scenes, look=scenes[first].look)))
    assert scores["consistency"] == pytest.approx([1] * 8, abs=1e-5)
    assert scores["repetition"] == [0] * 8


def test_one_thing_in_many_looks_repeats_and_is_not_consistent(scenes, others):
    both = replace(scenes, thing=scenes.thing * 0)
    scores = compare_within_set(predictions_of(both))
    assert scores["repetition"] == [1] * 8
    assert max(scores["consistency"]) < 0.8


def test_each_image_is_compared_only_with_the_others(scenes):
    """Of three images the last has another look, so that the first two match one of two others."""
    one, other = scenes[torch.tensor([0])].look, scenes[torch.tensor([1])].look
    look = {
        field.name: torch.cat([getattr(one, field.name)] * 2 + [getattr(other, field.name)]) for field in fields(one)
    }
    three = Scenes(scenes.thing[:3], type(one)(**look), scenes[torch.arange(3)].layout)
    first, second, third = compare_within_set(predictions_of(three))["consistency"]
    assert first == pytest.approx(second)
    assert first == pytest.approx((1 + third) / 2, abs=1e-5)


def test_a_single_image_has_no_set_scores(scenes):
    assert compare_within_set(predictions_of(scenes[torch.tensor([0])])) == {}


def test_an_interval_of_equal_values_is_a_point():
    assert bootstrap_interval(torch.full((12,), 0.25), torch.arange(12) // 3) == (0.25, 0.25)


def test_an_interval_is_that_of_the_mean():
    values = (torch.arange(400) % 2).float()
    low, high = bootstrap_interval(values, torch.arange(400))
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.01)


def test_images_of_one_reference_count_as_one():
    values = (torch.arange(400) // 100 % 2).float()
    low, high = bootstrap_interval(values, torch.arange(400) // 100)
    assert high - low > 0.5, "four references give wide intervals, however many images each"


def test_an_interval_is_deterministic():
    values = torch.rand(40, generator=seeded_generator(0))
    assert bootstrap_interval(values, torch.arange(40)) == bootstrap_interval(values, torch.arange(40))


def test_labels_are_the_attributes_of_the_scenes(scenes):
    labels = attribute_labels(scenes)
    assert list(labels) == list(CLASS_COUNTS)
    assert labels["thing"].equal(scenes.thing)
    assert all(labels[name].max() < count for name, count in CLASS_COUNTS.items())
    assert CLASS_COUNTS["thing"] == len(THINGS)
