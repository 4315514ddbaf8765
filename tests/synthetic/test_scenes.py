from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from instantstyle.synthetic import (
    FILLS,
    GROUNDS,
    LAYOUTS,
    MINI_SCOPE,
    OUTLINES,
    Scenes,
    Scope,
    to_pil_image,
    sample_scenes,
)
from instantstyle.synthetic.batch import TensorRows

from ..helpers import dice


def columns(batch: TensorRows) -> list[Tensor]:
    parts = [getattr(batch, field.name) for field in fields(batch)]
    return [
        column for part in parts for column in (columns(part) if isinstance(part, TensorRows) else [part])
    ]


def combinations(scenes: Scenes) -> set[tuple[int, ...]]:
    look = scenes.look
    return set(zip(*(kind.tolist() for kind in (look.ground, look.fill, look.outline)), strict=True))


def test_the_same_seed_draws_the_same_scenes_and_pictures():
    once, again = (sample_scenes(8, dice(3)) for _ in range(2))
    assert all(map(torch.equal, columns(once), columns(again)))
    assert once.render(64, dice(1)).equal(again.render(64, dice(1)))


def test_another_seed_draws_others():
    assert not sample_scenes(8, dice(3)).look.palette.equal(sample_scenes(8, dice(4)).look.palette)


@settings(max_examples=20, deadline=None)  # the first one reads the shapes
@given(st.integers(0, 10**6), st.sampled_from([None, MINI_SCOPE]))
def test_training_draws_are_never_held_out_and_held_out_ones_always(seed, scope):
    assert not sample_scenes(32, dice(seed), scope).held_out.any()
    assert sample_scenes(32, dice(seed), scope, held_out=True).held_out.all()


def test_no_held_out_look_is_ever_trained_on():
    trained, kept = sample_scenes(4000, dice(0)), sample_scenes(4000, dice(1), held_out=True)
    looks = combinations(kept[kept.look.held_out])
    assert len(looks) == pytest.approx(len(GROUNDS) * len(FILLS) * len(OUTLINES) / 8, abs=2)
    assert not looks & combinations(trained)


def test_no_held_out_layout_is_ever_trained_on():
    assert not sample_scenes(4000, dice(0)).layout.held_out.any()
    assert sample_scenes(4000, dice(1), held_out=True).layout.held_out.any()


def test_one_thing_and_fill_in_eleven_is_held_out_as_a_pair():
    few = 24  # things, so that each is met in every fill
    scenes = sample_scenes(6000, dice(0), Scope(things=few), held_out=None)
    rest = scenes[~scenes.look.held_out & ~scenes.layout.held_out]
    assert rest.held_out.float().mean() == pytest.approx(1 / 11, abs=0.015)
    pairs = {(int(thing), int(fill)) for thing, fill in zip(rest.thing, rest.look.fill, strict=True)}
    kept = rest[rest.held_out]
    assert len(pairs) == few * len(FILLS)
    assert len(set(zip(kept.thing.tolist(), kept.look.fill.tolist(), strict=True))) == pytest.approx(
        len(pairs) / 11, abs=2
    )


def test_the_bundled_models_scope_leaves_out_what_it_says():
    scenes = sample_scenes(3000, dice(0), MINI_SCOPE)
    assert set(scenes.thing.tolist()) == set(range(MINI_SCOPE.things))
    assert {LAYOUTS[kind] for kind in scenes.layout.category} == {*LAYOUTS} - {"row", "ring"}
    assert {FILLS[kind] for kind in scenes.look.fill} == {*FILLS}
    assert not scenes.look.grain.any()


@pytest.mark.parametrize("size", [16, 32, 64, 80])
def test_pictures_have_the_size_asked_for_and_values_in_range(scenes, size):
    pictures = scenes[:4].pictures(size)
    assert pictures.shape == (4, 3, size, size)
    assert 0 <= pictures.min() < pictures.max() <= 1


def test_a_larger_picture_shows_the_same(scenes):
    apart = (F.avg_pool2d(scenes.pictures(128), 2) - scenes.pictures(64)).abs().mean((1, 2, 3))
    assert apart.max() < 0.02


def test_a_scene_is_drawn_the_same_alone_and_among_others(scenes):
    assert torch.allclose(scenes[5:6].pictures(), scenes.pictures()[5:6], atol=1e-5)


def test_grain_is_noise_of_its_strength(scenes):
    grainy = replace(scenes, look=replace(scenes.look, grain=torch.full((48,), 0.05)))
    noise = grainy.pictures(64, dice(0)) - scenes.pictures(64)
    assert noise.std() == pytest.approx(0.05, abs=0.01)


def test_a_picture_becomes_an_image_of_its_colours():
    picture = torch.tensor([1.0, 0.5, 0.0])[:, None, None].expand(3, 4, 6)
    image = to_pil_image(picture)
    assert (image.size, image.mode) == ((6, 4), "RGB")
    assert image.getpixel((5, 3)) == (255, 128, 0)
