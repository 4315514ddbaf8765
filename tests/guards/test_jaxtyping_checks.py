"""While the tests run, an argument or result whose type or shape differs from its annotation is an error."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import jaxtyping
import pytest
import torch
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from instantstyle.core.content_removal import weighted_mean
from instantstyle.unet.blocks import Block
from instantstyle.utils.text import cut


def decorate(function: Any) -> Any:
    """Decorate as the import hook does."""
    # By the name of the hook: another import of the file would replace the decorator again.
    return jaxtyping.jaxtyped(typechecker=import_module("jaxtyping_checks").checked)(function)


def test_a_tensor_of_the_wrong_shape_is_refused():
    with pytest.raises(TypeCheckError):
        weighted_mean(torch.zeros(()), [1.0])


def test_an_argument_of_the_wrong_type_is_refused_in_functions_and_dataclasses():
    with pytest.raises(TypeCheckError):
        cut("words", "3")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeCheckError):
        Block("up_blocks", "0", 1)  # pyright: ignore[reportArgumentType]


def test_every_kind_of_function_is_checked():
    @decorate
    def number(one: "int", *rest: int, key: str = "") -> int:
        return one if not rest else key  # pyright: ignore[reportReturnType]

    @contextmanager
    @decorate
    def opened(one: int) -> Generator[int]:
        yield one

    @decorate
    @dataclass
    class Point:
        left: int

    @decorate
    def same(first: Float[Tensor, " width"], second: Float[Tensor, " width"]) -> None: ...

    assert (number(1), Point(2).left) == (1, 2)
    with opened(3) as inner:
        assert inner == 3
    same(torch.zeros(2), torch.zeros(2))
    wrong = {
        "argument": lambda: number("1"),  # pyright: ignore[reportArgumentType]
        "further argument": lambda: number(1, "2"),  # pyright: ignore[reportArgumentType]
        "keyword": lambda: number(1, key=2),  # pyright: ignore[reportArgumentType]
        "result": lambda: number(1, 2),
        "generator": lambda: opened("3").__enter__(),  # pyright: ignore[reportArgumentType]
        "dataclass": lambda: Point("2"),  # pyright: ignore[reportArgumentType]
        "shape": lambda: same(torch.zeros(2), torch.zeros(3)),
    }
    accepted = []
    for name, call in wrong.items():
        try:
            call()
        except TypeCheckError:
            continue
        accepted.append(name)
    assert accepted == []


def test_a_name_that_is_not_defined_stands_for_any_type():
    @decorate
    def anything(one: "Nowhere") -> "Nowhere":  # pyright: ignore
        return one

    assert anything(1) == 1


def test_checks_can_be_disabled(monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    with pytest.raises(TypeError) as raised:
        cut("words", "3")  # pyright: ignore[reportArgumentType]
    assert not isinstance(raised.value, TypeCheckError)
