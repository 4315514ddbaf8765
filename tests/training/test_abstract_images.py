"""Abstract images have the colours of their look and no other recognisable property."""

import pytest
import torch

from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from instantstyle.synthetic.looks import BODY, GROUND
from training.mini.abstract_images import render_abstract_images, render_clouds, render_strokes

from ..helpers import seeded_generator

LOOKS = sample_scenes(32, seeded_generator(0), MINI_SCOPE).look


@pytest.mark.parametrize("size", [32, 64, 128])
def test_images_of_any_size_are_rendered(size):
    images = render_abstract_images(LOOKS, size, seeded_generator(1))
    assert images.shape == (32, 3, size, size)
    assert 0 <= images.min() < images.max() <= 1


def test_the_same_seed_renders_the_same_images():
    first = render_abstract_images(LOOKS, 32, seeded_generator(1))
    assert first.equal(render_abstract_images(LOOKS, 32, seeded_generator(1)))
    assert not first.equal(render_abstract_images(LOOKS, 32, seeded_generator(2)))


def test_the_mean_colour_is_nearer_to_the_own_palette_than_to_others():
    mean = render_abstract_images(LOOKS, 64, seeded_generator(1)).mean((2, 3))
    palettes = LOOKS.palette[:, [GROUND, BODY]].mean(1)
    distances = (mean[:, None] - palettes[None]).pow(2).sum(-1).sqrt()
    assert distances.diagonal().mean() < 0.6 * distances.mean()


@pytest.mark.parametrize(
    "plane",
    [render_clouds(8, 64, seeded_generator(3)), render_strokes(LOOKS[:8], 64, seeded_generator(3))],
    ids=["clouds", "strokes"],
)
def test_planes_are_standardized_in_every_image(plane):
    assert plane.mean((1, 2, 3)).abs().max() < 1e-5
    assert torch.allclose(plane.std((2, 3)), torch.ones(8, 1), atol=1e-4)


def test_strokes_follow_the_looks_angle():
    """At an angle of zero they follow an axis: pixels differ less along it than across it."""
    looks = LOOKS[:8]
    strokes = render_strokes(type(looks)(**{**vars(looks), "angle": torch.zeros(8)}), 64, seeded_generator(3))
    across, down = strokes.diff(dim=3).abs().mean(), strokes.diff(dim=2).abs().mean()
    assert max(across, down) > 1.5 * min(across, down)
