"""Scenes of which only what a test is about varies."""

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

from ..helpers import dice


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    """Of the whole world, held out or not, without grain."""
    drawn = sample_scenes(48, dice(0), held_out=None)
    return replace(drawn, look=replace(drawn.look, grain=torch.zeros(48)))


@pytest.fixture(scope="session")
def look() -> Looks:
    """One look with five colours that are easily told apart."""
    colours = [[0.97, 0.95, 0.92], [0.6, 0.8, 0.9], [0.8, 0.1, 0.1], [0.9, 0.8, 0.1], [0.1, 0.1, 0.2]]
    plain = sample_looks(1, dice(1))
    kinds = dict.fromkeys(("ground", "fill", "outline"), torch.zeros(1, dtype=torch.int64))
    return replace(plain, **kinds, palette=torch.tensor([colours]), grain=torch.zeros(1))


@pytest.fixture(scope="session")
def upright() -> Callable[[str], Layouts]:
    """A named layout, neither turned nor mirrored."""

    def made(name: str) -> Layouts:
        weights = tuple(float(layout == name) for layout in LAYOUTS)
        drawn = sample_layouts(1, dice(2), weights)
        return replace(drawn, turn=torch.zeros(1), mirrored=torch.tensor([False]))

    return made
