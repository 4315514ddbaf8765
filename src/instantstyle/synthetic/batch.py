"""Rows of tensors that belong together: indexed, moved and joined as one."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor


@dataclass(frozen=True)
class TensorRows:
    """Base of the world's frozen dataclasses: every field is a tensor (or a Batch) of equal length."""

    def __getitem__(self, rows: Any) -> Self:
        """The rows that a slice, a mask or a list of places chooses."""
        return self._each(lambda column: column[rows])

    def __len__(self) -> int:
        return len(next(iter(self._columns().values())))

    def to(self, device: torch.device | str) -> Self:
        return self._each(lambda column: column.to(device))

    def where(self, keep: Bool[Tensor, " row"], other: Self) -> Self:
        """This batch's row where `keep`, the other's elsewhere."""
        order = torch.arange(len(self), device=keep.device) + torch.where(keep, 0, len(self))
        return self.joined(other)[order]

    def joined(self, other: Self) -> Self:
        """This batch's rows, then the other's."""
        theirs = other._columns()
        return replace(self, **{name: _join(mine, theirs[name]) for name, mine in self._columns().items()})

    def _each(self, change: Callable[[Any], Any]) -> Self:
        return replace(self, **{name: change(column) for name, column in self._columns().items()})

    def _columns(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _join(mine: Any, theirs: Any) -> Any:
    return mine.joined(theirs) if isinstance(mine, TensorRows) else torch.cat([mine, theirs])


class BatchRandom:
    """Draws of one length from one generator."""

    def __init__(self, count: int, generator: Generator | None = None) -> None:
        self.count, self.generator = count, generator

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Float[Tensor, "row *shape"]:
        return low + (high - low) * torch.rand(self.count, *shape, generator=self.generator)

    def aside(self, least: float, most: float) -> Float[Tensor, " row"]:
        """So far up or so far down."""
        return self.uniform(least, most) * torch.where(self.chance(0.5), 1.0, -1.0)

    def chance(self, probability: float) -> Bool[Tensor, " row"]:
        """True in so large a share of the rows."""
        return self.uniform() < probability

    def pick(self, choices: tuple[int, ...]) -> Int[Tensor, " row"]:
        """One of the given numbers a row, all equally likely; one that is given twice twice as likely."""
        return torch.tensor(choices)[torch.randint(len(choices), (self.count,), generator=self.generator)]
