from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from instantstyle.synthetic import LAYOUTS, THINGS, sample_layouts
from instantstyle.synthetic.layouts import Layouts
from instantstyle.synthetic.render import signed_distances
from instantstyle.synthetic.things import load_shape_fields

from ..helpers import seeded_generator

COPIES = {"centre": 1, "left": 1, "right": 1, "top": 1, "bottom": 1, "two": 2, "row": 3, "ring": 5}
ONLY_CENTRE = (1.0, *[0.0] * 7)
ONE = [name for name, copies in COPIES.items() if copies == 1]


def silhouette(layout: Layouts, thing: str = "penguin", size: int = 64) -> Tensor:
    """Return where the thing is, [size, size]. Copies of a penguin do not touch, because it is slim."""
    [shape] = signed_distances(load_shape_fields()[THINGS.index(thing)][None], layout, size)[0]
    return shape > 0


def pieces(mask: Tensor) -> int:
    """Count connected components: the largest pixel number spreads over each."""
    numbers = torch.arange(1.0, mask.numel() + 1).view(mask.shape) * mask
    while not (spread := F.max_pool2d(numbers[None], 3, 1, 1)[0] * mask).equal(numbers):
        numbers = spread
    return len(numbers[mask].unique())


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_has_its_number_of_copies(upright, name):
    assert pieces(silhouette(upright(name))) == COPIES[name]


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_bounding_box_contains_all_copies(upright, name):
    layout = upright(name)
    rows, columns = silhouette(layout).nonzero().T
    top, left, height, width = (64 * layout.bounding_box[0]).tolist()
    assert top - 1 <= rows.min() <= rows.max() < top + height + 1
    assert left - 1 <= columns.min() <= columns.max() < left + width + 1


@pytest.mark.parametrize("name", ONE)
def test_the_bounding_box_fits_the_longer_side(upright, name):
    layout = upright(name)
    rows, _ = silhouette(layout).nonzero().T
    assert 64 * layout.bounding_box[0, 2] - (rows.max() - rows.min() + 1) == pytest.approx(0, abs=2)


def placed(x: float, y: float, size: float) -> Layouts:
    x_, y_, size_ = (torch.full((1, 5), value) for value in (x, y, size))
    return replace(sample_layouts(1, seeded_generator(0), ONLY_CENTRE), x=x_, y=y_, size=size_)


@pytest.mark.parametrize(
    ("x", "y", "box"),
    [
        (0.0, 0.0, (0.25, 0.25, 0.5, 0.5)),
        (0.5, -0.25, (0.125, 0.5, 0.5, 0.5)),
        (0.75, 0.0, (0.25, 0.625, 0.5, 0.375)),  # a part lies outside the image
    ],
)
def test_a_bounding_box_is_top_left_height_and_width(x, y, box):
    assert placed(x, y, 0.5).bounding_box[0].tolist() == pytest.approx(box)


def test_left_and_right_and_top_and_bottom_are_where_they_say(upright):
    middles = {name: silhouette(upright(name)).nonzero().float().mean(0) for name in ONE}
    assert middles["left"][1] + 16 < middles["right"][1]
    assert middles["top"][0] + 16 < middles["bottom"][0]


def test_a_mirrored_thing_is_its_mirror_image():
    spot = placed(0.0, 0.0, 0.7)
    plain, mirrored = (
        silhouette(replace(spot, turn=torch.zeros(1), mirrored=torch.tensor([flip])), "key") for flip in (False, True)
    )
    assert mirrored.equal(plain.flip(1))
    assert not mirrored.equal(plain)


def test_mirroring_keeps_the_position():
    spot = placed(0.5, 0.0, 0.4)
    flipped = silhouette(replace(spot, turn=torch.zeros(1), mirrored=torch.tensor([True])), "key")
    assert flipped[:, 32:].sum() == flipped.sum()


def test_a_positive_turn_is_clockwise():
    spot = replace(placed(0.0, 0.0, 0.7), mirrored=torch.tensor([False]))
    head = [
        silhouette(replace(spot, turn=torch.tensor([turn])))[:16].nonzero()[:, 1].float().mean()
        for turn in (-0.2, 0.0, 0.2)
    ]
    assert head[0] + 1 < head[1] < head[2] - 1


def test_layouts_are_sampled_by_their_weights():
    categories = sample_layouts(4000, seeded_generator(0), (0.7, 0.3, *[0.0] * 6)).category
    assert (categories == 0).float().mean() == pytest.approx(0.7, abs=0.03)
    assert set(categories.tolist()) == {0, 1}


def test_one_layout_in_eight_is_held_out():
    assert sample_layouts(8000, seeded_generator(0)).held_out.float().mean() == pytest.approx(1 / 8, abs=0.01)
