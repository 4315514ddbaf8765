import torch

from instantstyle.synthetic import MINI_SCOPE
from training.mini import gallery
from training.mini.gallery import Gallery
from training.mini.settings import PICTURE

from ..helpers import dice


def light(pictures):
    return pictures.mean((1, 2, 3))


def test_each_view_is_of_the_scene_beside_it(monkeypatch):
    monkeypatch.setattr(gallery, "BATCHES", 2)
    scenes, (seen, same) = Gallery(MINI_SCOPE, [light, light]).pick(4, dice(0))
    assert seen.equal(same)
    assert torch.allclose(seen, light(scenes.pictures(PICTURE)), atol=1e-6)


def test_scenes_are_hung_anew_when_they_have_been_used_enough(monkeypatch):
    monkeypatch.setattr(gallery, "BATCHES", 1)
    monkeypatch.setattr(gallery, "USES", 2)
    walls, lot = Gallery(MINI_SCOPE, [light]), dice(0)
    hung = [(walls.pick(4, lot), walls.known[0])[1] for _ in range(4)]
    assert hung[0] is hung[1]
    assert hung[1] is not hung[2]
    assert hung[2] is hung[3]


def test_nothing_held_out_hangs():
    walls = Gallery(MINI_SCOPE, [])
    scenes, _ = walls.pick(1, dice(0))
    assert len(scenes) == 1
    assert not walls.scenes.held_out.any()


def test_pictures_are_as_large_as_the_gallery_is_told():
    _, (sizes,) = Gallery(
        MINI_SCOPE, [lambda pictures: torch.tensor([pictures.shape[-2:]] * len(pictures))], side=32
    ).pick(1, dice(0))
    assert sizes.tolist() == [[32, 32]]
