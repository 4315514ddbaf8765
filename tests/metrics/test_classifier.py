"""The classifier that is part of the package predicts the attributes of held-out scenes."""

import pytest
import torch

from instantstyle.metrics import SyntheticClassifier, attribute_labels, load_classifier
from instantstyle.metrics.classifier import CLASS_COUNTS
from instantstyle.synthetic import MINI_SCOPE, Scenes, sample_scenes

from ..helpers import seeded_generator


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_scenes(256, seeded_generator(12), MINI_SCOPE, held_out=True)


@pytest.fixture(scope="module")
def accuracy(scenes) -> dict[str, float]:
    """Accuracy by attribute."""
    with torch.no_grad():
        predictions = load_classifier()(scenes.render(64))
    return {
        name: (predictions[name] == labels).float().mean().item() for name, labels in attribute_labels(scenes).items()
    }


@pytest.mark.parametrize("attribute", CLASS_COUNTS)
def test_accuracy_is_far_above_that_of_the_most_frequent_class(attribute, scenes, accuracy):
    most_frequent = attribute_labels(scenes)[attribute].bincount().max().item() / len(scenes)
    assert accuracy[attribute] > most_frequent + (1 - most_frequent) / 3


def test_colours_are_predicted_within_a_tenth(scenes):
    with torch.no_grad():
        palette = load_classifier()(scenes.render(64)).palette
    assert (palette - scenes.look.palette)[:, [0, 2]].abs().mean() < 0.1


def test_the_classifier_is_frozen_and_loaded_once():
    assert load_classifier() is load_classifier()
    assert not load_classifier().training
    assert not any(weight.requires_grad for weight in load_classifier().parameters())


def test_larger_images_are_averaged_down(scenes):
    large, small = scenes[:8].render(128), scenes[:8].render(64)
    with torch.no_grad():
        assert torch.allclose(load_classifier()(large).palette, load_classifier()(small).palette, atol=0.1)
        assert load_classifier()(large)["thing"].equal(load_classifier()(small)["thing"])


def test_an_untrained_classifier_predicts_every_attribute():
    predictions = SyntheticClassifier()(torch.zeros(2, 3, 64, 64))
    assert {name: logits.shape for name, logits in predictions.logits.items()} == {
        name: (2, count) for name, count in CLASS_COUNTS.items()
    }
    assert predictions.palette.shape == (2, 5, 3)
