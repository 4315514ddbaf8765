"""Scenes in which only the property under test varies."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from instantstyle.synthetic import (
    LAYOUTS,
    Layouts,
    Looks,
    Scenes,
    sample_layouts,
    sample_looks,
    sample_scenes,
)

from ..helpers import seeded_generator


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    """Scenes of the whole dataset, held out or not, without grain."""
    sampled = sample_scenes(48, seeded_generator(0), held_out=None)
    return replace(sampled, look=replace(sampled.look, grain=torch.zeros(48)))


@pytest.fixture(scope="session")
def look() -> Looks:
    """One look with five colours that differ clearly."""
    colours = [[0.97, 0.95, 0.92], [0.6, 0.8, 0.9], [0.8, 0.1, 0.1], [0.9, 0.8, 0.1], [0.1, 0.1, 0.2]]
    sampled = sample_looks(1, seeded_generator(1))
    plain = dict.fromkeys(("ground", "fill", "outline"), torch.zeros(1, dtype=torch.int64))
    return replace(sampled, **plain, palette=torch.tensor([colours]), grain=torch.zeros(1))


@pytest.fixture(scope="session")
def upright() -> Callable[[str], Layouts]:
    """Return a function from a layout's name to that layout, neither rotated nor mirrored."""

    def made(name: str) -> Layouts:
        weights = tuple(float(layout == name) for layout in LAYOUTS)
        sampled = sample_layouts(1, seeded_generator(2), weights)
        return replace(sampled, turn=torch.zeros(1), mirrored=torch.tensor([False]))

    return made
