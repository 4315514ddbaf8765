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
    sample_scenes,
    to_pil_image,
)
from instantstyle.synthetic.batch import TensorRows

from ..helpers import seeded_generator


def columns(batch: TensorRows) -> list[Tensor]:
    parts = [getattr(batch, field.name) for field in fields(batch)]
    return [column for part in parts for column in (columns(part) if isinstance(part, TensorRows) else [part])]


def combinations(scenes: Scenes) -> set[tuple[int, ...]]:
    look = scenes.look
    return set(zip(*(column.tolist() for column in (look.ground, look.fill, look.outline)), strict=True))


def test_the_same_seed_gives_the_same_scenes_and_images():
    once, again = (sample_scenes(8, seeded_generator(3)) for _ in range(2))
    assert all(map(torch.equal, columns(once), columns(again)))
    assert once.render(64, seeded_generator(1)).equal(again.render(64, seeded_generator(1)))


def test_another_seed_gives_other_scenes():
    assert not sample_scenes(8, seeded_generator(3)).look.palette.equal(
        sample_scenes(8, seeded_generator(4)).look.palette
    )


@settings(max_examples=20, deadline=None)  # the first example reads the shapes
@given(st.integers(0, 10**6), st.sampled_from([None, MINI_SCOPE]))
def test_training_scenes_are_never_held_out_and_held_out_ones_always(seed, scope):
    assert not sample_scenes(32, seeded_generator(seed), scope).held_out.any()
    assert sample_scenes(32, seeded_generator(seed), scope, held_out=True).held_out.all()


def test_no_held_out_look_is_in_training():
    trained, kept = (
        sample_scenes(4000, seeded_generator(0)),
        sample_scenes(4000, seeded_generator(1), held_out=True),
    )
    looks = combinations(kept[kept.look.held_out])
    assert len(looks) == pytest.approx(len(GROUNDS) * len(FILLS) * len(OUTLINES) / 8, abs=2)
    assert not looks & combinations(trained)


def test_no_held_out_layout_is_in_training():
    assert not sample_scenes(4000, seeded_generator(0)).layout.held_out.any()
    assert sample_scenes(4000, seeded_generator(1), held_out=True).layout.held_out.any()


def test_one_thing_and_fill_in_eleven_is_held_out_as_a_pair():
    few = 24  # things, so that each occurs with every fill
    scenes = sample_scenes(6000, seeded_generator(0), Scope(things=few), held_out=None)
    rest = scenes[~scenes.look.held_out & ~scenes.layout.held_out]
    assert rest.held_out.float().mean() == pytest.approx(1 / 11, abs=0.015)
    pairs = {(int(thing), int(fill)) for thing, fill in zip(rest.thing, rest.look.fill, strict=True)}
    kept = rest[rest.held_out]
    assert len(pairs) == few * len(FILLS)
    assert len(set(zip(kept.thing.tolist(), kept.look.fill.tolist(), strict=True))) == pytest.approx(
        len(pairs) / 11, abs=2
    )


def test_the_scope_of_mini_leaves_out_things_layouts_and_grain():
    scenes = sample_scenes(3000, seeded_generator(0), MINI_SCOPE)
    assert set(scenes.thing.tolist()) == set(range(MINI_SCOPE.things))
    assert {LAYOUTS[index] for index in scenes.layout.category} == {*LAYOUTS} - {"row", "ring"}
    assert {FILLS[index] for index in scenes.look.fill} == {*FILLS}
    assert not scenes.look.grain.any()


@pytest.mark.parametrize("size", [16, 32, 64, 80])
def test_images_have_the_requested_size_and_values_in_range(scenes, size):
    images = scenes[:4].render(size)
    assert images.shape == (4, 3, size, size)
    assert 0 <= images.min() < images.max() <= 1


def test_a_larger_image_shows_the_same(scenes):
    difference = (F.avg_pool2d(scenes.render(128), 2) - scenes.render(64)).abs().mean((1, 2, 3))
    assert difference.max() < 0.02


def test_a_scene_renders_the_same_alone_and_in_a_batch(scenes):
    assert torch.allclose(scenes[5:6].render(), scenes.render()[5:6], atol=1e-5)


def test_grain_is_noise_of_its_standard_deviation(scenes):
    grainy = replace(scenes, look=replace(scenes.look, grain=torch.full((48,), 0.05)))
    noise = grainy.render(64, seeded_generator(0)) - scenes.render(64)
    assert noise.std() == pytest.approx(0.05, abs=0.01)


def test_a_tensor_becomes_a_pil_image_of_its_colours():
    tensor = torch.tensor([1.0, 0.5, 0.0])[:, None, None].expand(3, 4, 6)
    image = to_pil_image(tensor)
    assert (image.size, image.mode) == ((6, 4), "RGB")
    assert image.getpixel((5, 3)) == (255, 128, 0)
