"""The size and crop conditioning of training."""

from dataclasses import replace

import torch

from instantstyle.synthetic import sample_scenes
from training.mini.frozen_models import size_conditioning

from ..helpers import seeded_generator

SCENES = sample_scenes(8, seeded_generator(0))
ALL, NONE = torch.ones(8, dtype=torch.bool), torch.zeros(8, dtype=torch.bool)


def test_without_a_box_the_conditioning_is_that_of_a_plain_call():
    assert size_conditioning(SCENES, 64, NONE).tolist() == [[64, 64, 0, 0, 64, 64]] * 8


def test_with_a_box_the_conditioning_is_the_box_in_pixels():
    """Height and width, top and left, then the image's size: of one object, and of two side by side."""
    slots = {"x": [0.5, -0.5, 0.0, 0.0, 0.0], "y": [-0.25] * 5, "size": [0.25] * 5}
    layout = replace(SCENES.layout, **{name: torch.tensor([row] * 8) for name, row in slots.items()})
    for copies, numbers in ((1, [16, 16, 16, 40, 64, 64]), (2, [16, 48, 16, 8, 64, 64])):
        scenes = replace(SCENES, layout=replace(layout, present=torch.arange(5).expand(8, 5) < copies))
        assert size_conditioning(scenes, 64, ALL).tolist() == [numbers] * 8


def test_a_box_never_equals_the_conditioning_of_a_plain_call():
    """Also not if the object fills the image: its corner is then at 1 instead of 0."""
    assert size_conditioning(SCENES, 32, ALL)[:, 2:4].min() >= 1


def test_each_scene_has_its_own_choice():
    with_box = torch.arange(8) % 2 == 0
    numbers = size_conditioning(SCENES, 64, with_box)
    assert numbers[with_box].equal(size_conditioning(SCENES, 64, ALL)[with_box])
    assert (numbers[~with_box, 2:4] == 0).all()
