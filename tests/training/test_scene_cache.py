"""The scene cache returns scenes with their own encodings, and is refilled after a number of uses."""

import torch
from torch import Tensor

from instantstyle.synthetic import MINI_SCOPE
from training.mini import scene_cache
from training.mini.scene_cache import SceneCache
from training.mini.settings import IMAGE_SIZE

from ..helpers import seeded_generator


def brightness(images: Tensor) -> Tensor:
    return images.mean((1, 2, 3))


def test_each_encoding_belongs_to_its_scene(monkeypatch):
    monkeypatch.setattr(scene_cache, "BATCHES", 2)
    cache = SceneCache(MINI_SCOPE, [brightness, brightness])
    scenes, (first, second) = cache.sample(4, seeded_generator(0))
    assert first.equal(second)
    assert torch.allclose(first, brightness(scenes.render(IMAGE_SIZE)), atol=1e-6)


def test_the_cache_is_refilled_after_its_uses(monkeypatch):
    monkeypatch.setattr(scene_cache, "BATCHES", 1)
    cache, generator = SceneCache(MINI_SCOPE, [brightness], uses=2), seeded_generator(0)
    contents = [(cache.sample(4, generator), cache.encodings[0])[1] for _ in range(4)]
    assert contents[0] is contents[1]
    assert contents[1] is not contents[2]
    assert contents[2] is contents[3]


def test_the_cache_contains_no_held_out_scenes():
    cache = SceneCache(MINI_SCOPE, [])
    scenes, _ = cache.sample(1, seeded_generator(0))
    assert len(scenes) == 1
    assert not cache.scenes.held_out.any()


def test_images_have_the_size_of_the_cache():
    def image_sizes(images: Tensor) -> Tensor:
        return torch.tensor([images.shape[-2:]] * len(images))

    _, (sizes,) = SceneCache(MINI_SCOPE, [image_sizes], size=32).sample(1, seeded_generator(0))
    assert sizes.tolist() == [[32, 32]]
