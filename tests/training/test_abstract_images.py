"""Pictures of no thing carry their look's colours, and nothing else that could be told apart."""

import pytest
import torch

from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from instantstyle.synthetic.looks import BODY, GROUND
from training.mini.paintings import clouds, paintings, strokes

from ..helpers import dice

LOOKS = sample_scenes(32, dice(0), MINI_SCOPE).look


@pytest.mark.parametrize("size", [32, 64, 128])
def test_they_are_pictures_of_any_size(size):
    drawn = paintings(LOOKS, size, dice(1))
    assert drawn.shape == (32, 3, size, size)
    assert 0 <= drawn.min() < drawn.max() <= 1


def test_the_same_dice_paint_the_same():
    assert paintings(LOOKS, 32, dice(1)).equal(paintings(LOOKS, 32, dice(1)))
    assert not paintings(LOOKS, 32, dice(1)).equal(paintings(LOOKS, 32, dice(2)))


def test_their_mean_colour_is_nearer_to_their_own_palette_than_to_anothers():
    mean = paintings(LOOKS, 64, dice(1)).mean((2, 3))
    planes = LOOKS.palette[:, [GROUND, BODY]].mean(1)
    apart = (mean[:, None] - planes[None]).pow(2).sum(-1).sqrt()
    assert apart.diagonal().mean() < 0.6 * apart.mean()


@pytest.mark.parametrize("plane", [clouds(8, 64, dice(3)), strokes(LOOKS[:8], 64, dice(3))])
def test_the_planes_are_level_in_every_picture(plane):
    assert plane.mean((1, 2, 3)).abs().max() < 1e-5
    assert torch.allclose(plane.std((2, 3)), torch.ones(8, 1), atol=1e-4)


def test_strokes_run_along_the_looks_direction():
    """With an angle of nought along x or y: neighbours along them are more alike than those across."""
    level = LOOKS[:8]
    flat = strokes(type(level)(**{**vars(level), "angle": torch.zeros(8)}), 64, dice(3))
    across, down = flat.diff(dim=3).abs().mean(), flat.diff(dim=2).abs().mean()
    assert max(across, down) > 1.5 * min(across, down)
