"""The judge that ships tells what it is asked, on scenes never trained on."""

import pytest
import torch

from instantstyle.metrics import SyntheticClassifier, attribute_labels
from instantstyle.metrics import classifier as judge
from instantstyle.metrics.classifier import CLASS_COUNTS
from instantstyle.synthetic import MINI_SCOPE, Scenes, sample_scenes

from ..helpers import dice


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_scenes(256, dice(12), MINI_SCOPE, held_out=True)


@pytest.fixture(scope="module")
def right(scenes) -> dict[str, float]:
    """How often it tells each fact."""
    with torch.no_grad():
        seen = judge()(scenes.pictures(64))
    return {name: (seen[name] == shown).float().mean().item() for name, shown in attribute_labels(scenes).items()}


@pytest.mark.parametrize("fact", CLASS_COUNTS)
def test_it_tells_far_more_than_the_commonest_kind_would(fact, scenes, right):
    commonest = attribute_labels(scenes)[fact].bincount().max().item() / len(scenes)
    assert right[fact] > commonest + (1 - commonest) / 3


def test_it_tells_colours_to_a_tenth(scenes):
    with torch.no_grad():
        drawn = judge()(scenes.pictures(64)).palette
    assert (drawn - scenes.look.palette)[:, [0, 2]].abs().mean() < 0.1


def test_it_is_frozen_and_made_once():
    assert judge() is judge()
    assert not judge().training
    assert not any(weight.requires_grad for weight in judge().parameters())


def test_larger_pictures_are_averaged_down(scenes):
    large, small = scenes[:8].pictures(128), scenes[:8].pictures(64)
    with torch.no_grad():
        assert torch.allclose(judge()(large).palette, judge()(small).palette, atol=0.1)
        assert judge()(large)["thing"].equal(judge()(small)["thing"])


def test_an_untrained_one_reads_every_fact():
    seen = SyntheticClassifier()(torch.zeros(2, 3, 64, 64))
    assert {name: logits.shape for name, logits in seen.facts.items()} == {
        name: (2, kinds) for name, kinds in CLASS_COUNTS.items()
    }
    assert seen.palette.shape == (2, 5, 3)
