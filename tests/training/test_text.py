"""The first text encoder learns shapes: the head's inputs and targets, and the effect on later stages."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from instantstyle.synthetic.things import EXTENT, load_shape_fields
from training.mini import settings
from training.mini.frozen_models import FrozenClip
from training.mini.settings import CPU
from training.mini.stage import Run, load_averaged_module
from training.mini.stages import build_stage
from training.mini.text import CELLS, POINTS, cell_positions, shape_coverage

from ..helpers import seeded_generator
from .test_every_stage import tiny_networks

SCENES = sample_scenes(64, seeded_generator(0), MINI_SCOPE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """A folder with an untrained state of stage `clip`."""
    folder = tmp_path_factory.mktemp("before")
    torch.manual_seed(0)
    with tiny_networks():
        Run(build_stage("clip", folder), folder, CPU["clip"]).save()
        yield folder


def test_a_cells_centre_is_its_position_on_the_object():
    """There the object's own field is inside where the target says so."""
    centre = cell_positions(SCENES.layout)[..., :2]
    field = load_shape_fields()[SCENES.thing, :1]
    inside = F.grid_sample(field, centre[:, None] / EXTENT, align_corners=True)[:, 0, 0] > 0
    covered = shape_coverage(SCENES)[..., : POINTS**2].mean(-1) > 0.5
    near = centre.abs().amax(-1) < EXTENT
    assert (inside == covered)[near].float().mean() > 0.9


def test_a_cells_offsets_are_the_objects_size_and_rotation():
    """The first two numbers after the centre lead one cell to the right, the next two one cell down."""
    positions = cell_positions(SCENES.layout).view(len(SCENES), CELLS, CELLS, -1)
    centre, steps = positions[..., :2], positions[..., 2:6] * 2 * 2 / CELLS
    assert torch.allclose(centre[:, :, 1:] - centre[:, :, :-1], steps[:, :, 1:, :2], atol=1e-5)
    assert torch.allclose(centre[:, 1:] - centre[:, :-1], steps[:, 1:, :, 2:], atol=1e-5)


def test_the_target_is_the_first_of_several_objects():
    first = torch.arange(SCENES.layout.present.shape[1]) == 0
    alone = replace(SCENES.layout, present=first.expand_as(SCENES.layout.present))
    assert shape_coverage(SCENES).equal(shape_coverage(replace(SCENES, layout=alone)))


@pytest.mark.slow
def test_the_head_learns_the_shapes_that_captions_name(folder):
    run = Run(build_stage("text", folder), folder, replace(CPU["text"], batch=32))
    losses = [float(run.step()["shapes"]) for _ in range(30)]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
def test_later_stages_use_the_trained_text_encoder(folder):
    texts = ["a rocket", "two cacti on the left"]
    before, pooled = FrozenClip(folder).encode_text(texts)
    run = Run(build_stage("text", folder), folder, replace(CPU["text"], batch=8))
    for _ in range(3):
        run.step()
    run.save()
    after, pooled_after = FrozenClip(folder).encode_text(texts)
    width = settings.TEXT_ENCODER_1["hidden_size"]
    assert not torch.allclose(after[..., :width], before[..., :width])
    assert after[..., width:].equal(before[..., width:])
    assert pooled_after.equal(pooled)
    assert load_averaged_module(build_stage("text", folder), folder).training is False
