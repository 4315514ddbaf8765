from itertools import combinations

import pytest
import torch

from instantstyle.synthetic import THINGS
from instantstyle.synthetic.captions import COLOURS
from instantstyle.synthetic.things import EXTENT, load_shape_fields

UNIT = 96 / (2 * EXTENT)  # px of a field for half a thing's longer side


def test_every_thing_has_two_fields():
    assert load_shape_fields().shape == (len(THINGS), 2, 96, 96)


def test_fields_are_finite_distances_of_plausible_size():
    assert load_shape_fields().isfinite().all()
    assert -2 < load_shape_fields().min() < 0 < load_shape_fields().max() < 1


def test_a_things_longer_side_is_two_units():
    insides = [(silhouette > 0).nonzero() for silhouette in load_shape_fields()[:, 0]]
    sides = [((inside.amax(0) - inside.amin(0) + 1) / UNIT).max().item() for inside in insides]
    assert {name: side for name, side in zip(THINGS, sides, strict=True) if side != pytest.approx(2, abs=0.05)} == {}


def test_lines_lie_inside_the_silhouette():
    silhouette, lines = load_shape_fields().unbind(1)
    assert (lines <= silhouette).all()


def test_no_two_things_have_nearly_the_same_shape():
    shapes = load_shape_fields().flatten(1)
    distances = torch.cdist(shapes, shapes, p=1) / shapes.shape[1]
    assert distances[~torch.eye(len(THINGS), dtype=torch.bool)].min() > 0.02


def test_no_name_shares_a_word_with_another_name_or_a_colour():
    """Prompts are searched for names word by word."""
    words = [set(name.split()) for name in THINGS]
    assert len(set(THINGS)) == len(THINGS) >= 130
    assert not any(one & other for one, other in combinations(words, 2))
    assert not set.union(*words) & set(COLOURS)
