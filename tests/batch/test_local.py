"""The backend of this machine: a style is seen once, and memory that is short is told from other faults."""

import numpy as np
import pytest
import torch

from instantstyle.batch import TooLarge, backend_named
from instantstyle.batch.backends import local
from instantstyle.errors import JobError
from instantstyle.generation import generate as drawing
from instantstyle.recipe import Recipe

SHORT = {"num_inference_steps": 2, "height": 16, "width": 16}


@pytest.fixture
def backend(styled, monkeypatch):
    """With the small random model, whatever a recipe names."""
    monkeypatch.setattr(local, "load_for", lambda *_, **__: styled)
    return backend_named("local", "cpu")


@pytest.fixture
def recipes(reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    references = [{"name": str(tmp_path / "ink.png")}]
    return [
        Recipe.model_validate({"prompt": prompt, "seed": seed, "references": references, **SHORT})
        for seed, prompt in enumerate(["a rocket", "a crown", "a cat"])
    ]


def test_on_a_cpu_pictures_are_drawn_one_by_one_unless_told_otherwise(backend):
    assert (backend.size, backend.workers) == (1, 1)


def test_a_style_is_seen_once_for_all_its_rows(backend, recipes, styled):
    seen = []
    styled.image_encoder.model.register_forward_hook(lambda *_: seen.append(1))
    for recipe in recipes:
        backend.draw([recipe])
    assert len(seen) == 1


def test_drawn_alone_a_picture_is_the_very_one_that_generate_draws(backend, recipes, styled):
    [(picture, made)] = backend.draw(recipes[1:2])
    [(expected, recipe)] = drawing.generate(styled, recipes[1])
    assert picture.tobytes() == expected.tobytes()
    assert made == recipe


def test_beside_others_a_picture_differs_by_rounding_at_most(backend, recipes):
    together = backend.draw(recipes)
    for recipe, (picture, made) in zip(recipes, together, strict=True):
        [(alone, same)] = backend.draw([recipe])
        assert made == same
        apart = np.abs(np.asarray(picture, dtype=int) - np.asarray(alone, dtype=int))
        assert apart.max() <= 1
    assert len({picture.tobytes() for picture, _ in together}) == 3


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
        RuntimeError("MPS backend out of memory"),
        MemoryError(),
    ],
)
def test_memory_that_is_short_is_told_as_such(backend, recipes, styled, fault, monkeypatch):
    monkeypatch.setattr(type(styled), "__call__", _raising(fault))
    with pytest.raises(TooLarge, match="no memory for 3 such pictures"):
        backend.draw(recipes)


def test_another_fault_stays_what_it_is(backend, recipes, styled, monkeypatch):
    monkeypatch.setattr(type(styled), "__call__", _raising(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        backend.draw(recipes)


def test_a_backend_that_there_is_not_is_refused():
    with pytest.raises(
        JobError, match=r"There is no backend lokal; there is local, ray\. Did you mean local\?"
    ):
        backend_named("lokal")


def _raising(fault: Exception):
    def call(*_, **__):
        raise fault

    return call
