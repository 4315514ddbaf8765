from dataclasses import replace

import torch

from instantstyle.synthetic import sample_scenes
from training.mini.frozen import placement

from ..helpers import dice

SCENES = sample_scenes(8, dice(0))


def test_a_placement_that_is_not_told_is_what_a_plain_call_sends():
    numbers = placement(SCENES, 64, torch.zeros(8, dtype=torch.bool))
    assert numbers.tolist() == [[64, 64, 0, 0, 64, 64]] * 8


def test_a_placement_that_is_told_is_the_box_in_pixels():
    """Height and width, top and left, then the picture's size: of one thing, and of two side by side."""
    places = {"x": [0.5, -0.5, 0.0, 0.0, 0.0], "y": [-0.25] * 5, "size": [0.25] * 5}
    layout = replace(SCENES.layout, **{name: torch.tensor([row] * 8) for name, row in places.items()})
    for copies, numbers in ((1, [16, 16, 16, 40, 64, 64]), (2, [16, 48, 16, 8, 64, 64])):
        scenes = replace(SCENES, layout=replace(layout, present=torch.arange(5).expand(8, 5) < copies))
        assert placement(scenes, 64, torch.ones(8, dtype=torch.bool)).tolist() == [numbers] * 8


def test_a_told_placement_is_never_taken_for_a_plain_one():
    """Nor where the thing fills the picture: its corner is then said to be at 1, not at 0."""
    numbers = placement(SCENES, 32, torch.ones(8, dtype=torch.bool))
    assert numbers[:, 2:4].min() >= 1


def test_each_scene_is_told_or_not_for_itself():
    told = torch.arange(8) % 2 == 0
    numbers = placement(SCENES, 64, told)
    assert numbers[told].equal(placement(SCENES, 64, torch.ones(8, dtype=torch.bool))[told])
    assert (numbers[~told, 2:4] == 0).all()
