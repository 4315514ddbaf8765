"""Words' states learn to hold shapes: what the head is asked, what it is to draw, and who reads them then."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from instantstyle.synthetic.things import EXTENT, fields
from training.mini import settings
from training.mini.frozen import Clip
from training.mini.settings import CPU
from training.mini.stage import Run, averaged
from training.mini.stages import build
from training.mini.text import CELLS, POINTS, cells, places

from ..helpers import dice
from .test_every_stage import tiny

SCENES = sample_scenes(64, dice(0), MINI_SCOPE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One in which the towers have been begun."""
    folder = tmp_path_factory.mktemp("before")
    torch.manual_seed(0)
    with tiny():
        Run(build("clip", folder), folder, CPU["clip"]).save()
        yield folder


def test_a_cell_is_told_where_on_the_thing_it_lies():
    """There the thing's own field says inside where the picture to be drawn says so."""
    middle = places(SCENES.layout)[..., :2]
    field = fields()[SCENES.thing, :1]
    there = F.grid_sample(field, middle[:, None] / EXTENT, align_corners=True)[:, 0, 0] > 0
    drawn = cells(SCENES)[..., : POINTS**2].mean(-1) > 0.5
    near = middle.abs().amax(-1) < EXTENT
    assert (there == drawn)[near].float().mean() > 0.9


def test_a_cell_is_told_how_large_the_thing_is_and_how_it_is_turned():
    """One cell across is so far on the thing as the two numbers say; down by the next two."""
    told = places(SCENES.layout).view(len(SCENES), CELLS, CELLS, -1)
    middle, steps = told[..., :2], told[..., 2:6] * 2 * 2 / CELLS
    assert torch.allclose(middle[:, :, 1:] - middle[:, :, :-1], steps[:, :, 1:, :2], atol=1e-5)
    assert torch.allclose(middle[:, 1:] - middle[:, :-1], steps[:, 1:, :, 2:], atol=1e-5)


def test_of_several_things_the_first_is_drawn():
    one = torch.arange(SCENES.layout.present.shape[1]) == 0
    alone = replace(SCENES.layout, present=one.expand_as(SCENES.layout.present))
    assert cells(SCENES).equal(cells(replace(SCENES, layout=alone)))


@pytest.mark.slow
def test_the_head_learns_to_draw_what_the_words_name(folder):
    run = Run(build("text", folder), folder, replace(CPU["text"], batch=32))
    drawn = [float(run.step()["sketched"]) for _ in range(30)]
    assert drawn[-1] < 0.9 * drawn[0]


@pytest.mark.slow
def test_what_was_learnt_is_what_later_stages_read(folder):
    words = ["a rocket", "two cacti on the left"]
    before, pooled = Clip(folder).text(words)
    run = Run(build("text", folder), folder, replace(CPU["text"], batch=8))
    for _ in range(3):
        run.step()
    run.save()
    after, pooled_after = Clip(folder).text(words)
    own = settings.TOWER_1["hidden_size"]
    assert not torch.allclose(after[..., :own], before[..., :own])
    assert after[..., own:].equal(before[..., own:])
    assert pooled_after.equal(pooled)
    assert averaged(build("text", folder), folder)["tower"].training is False
