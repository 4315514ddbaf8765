"""The local backend encodes a style once and tells a lack of memory from other errors."""

import numpy as np
import pytest
import torch

from instantstyle.batch import BatchTooLarge, create_backend
from instantstyle.batch.backends import local
from instantstyle.errors import JobError
from instantstyle.generation.generate import generate
from instantstyle.recipe import Recipe

SHORT = {"num_inference_steps": 2, "height": 16, "width": 16}


@pytest.fixture
def backend(styled, monkeypatch):
    """A backend with the small random model for every recipe."""
    monkeypatch.setattr(local, "load_for", lambda *_, **__: styled)
    return create_backend("local", "cpu")


@pytest.fixture
def recipes(reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    references = [{"name": str(tmp_path / "ink.png")}]
    return [
        Recipe.model_validate({"prompt": prompt, "seed": seed, "references": references, **SHORT})
        for seed, prompt in enumerate(["a rocket", "a crown", "a cat"])
    ]


def test_on_a_cpu_the_batch_size_is_one(backend):
    assert (backend.batch_size, backend.workers) == (1, 1)


def test_a_style_is_encoded_once_for_all_its_rows(backend, recipes, styled):
    calls = []
    styled.image_encoder.model.register_forward_hook(lambda *_: calls.append(1))
    for recipe in recipes:
        backend.generate([recipe])
    assert len(calls) == 1


def test_an_image_generated_alone_equals_that_of_generate(backend, recipes, styled):
    [(image, completed)] = backend.generate(recipes[1:2])
    [(expected, recipe)] = generate(styled, recipes[1])
    assert image.tobytes() == expected.tobytes()
    assert completed == recipe


def test_an_image_of_a_batch_differs_by_rounding_at_most(backend, recipes):
    together = backend.generate(recipes)
    for recipe, (image, completed) in zip(recipes, together, strict=True):
        [(alone, same)] = backend.generate([recipe])
        assert completed == same
        difference = np.abs(np.asarray(image, dtype=int) - np.asarray(alone, dtype=int))
        assert difference.max() <= 1
    assert len({image.tobytes() for image, _ in together}) == 3


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("MPS backend out of memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_raises_batch_too_large(backend, recipes, styled, error, monkeypatch):
    monkeypatch.setattr(type(styled), "__call__", _raise(error))
    with pytest.raises(BatchTooLarge, match="not enough memory to generate 3 such images"):
        backend.generate(recipes)


def test_other_errors_are_not_translated(backend, recipes, styled, monkeypatch):
    monkeypatch.setattr(type(styled), "__call__", _raise(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        backend.generate(recipes)


def test_an_unknown_backend_is_refused():
    with pytest.raises(JobError, match=r"There is no backend lokal; choose from local, ray\. Did you mean local\?"):
        create_backend("lokal")


def _raise(error: Exception):
    def call(*_, **__):
        raise error

    return call
