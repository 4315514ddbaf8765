"""Dataclasses of tensors that share their first axis, and random numbers for a whole batch."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

Rows = slice | list[int] | Tensor
"""Anything that indexes the first axis of a tensor and keeps it."""


@dataclass(frozen=True)
class TensorRows:
    """Base class of frozen dataclasses whose fields are tensors (or `TensorRows`) of equal length."""

    def __getitem__(self, rows: Rows) -> Self:
        """Select rows in every field.

        Args:
            rows: A slice, a boolean mask, or a list or tensor of row numbers.
        """
        return self._map(lambda column: column[rows])

    def __len__(self) -> int:
        return len(next(iter(self._columns().values())))

    def to(self, device: torch.device | str) -> Self:
        """Move every field to a device."""
        return self._map(lambda column: column.to(device))

    def where(self, keep: Bool[Tensor, " row"], other: Self) -> Self:
        """Select row by row between two batches of equal length, as `torch.where`.

        Args:
            keep: True where the row is taken from this batch, False where it is taken from `other`.
            other: The batch that supplies the remaining rows.
        """
        order = torch.arange(len(self), device=keep.device) + torch.where(keep, 0, len(self))
        return self.concatenate(other)[order]

    def concatenate(self, other: Self) -> Self:
        """Append the rows of another batch to the rows of this one."""
        appended = other._columns()
        columns = {
            name: column.concatenate(appended[name])
            if isinstance(column, TensorRows)
            else torch.cat([column, appended[name]])
            for name, column in self._columns().items()
        }
        return replace(self, **columns)

    def _map(self, function: Callable[[Any], Any]) -> Self:
        return replace(self, **{name: function(column) for name, column in self._columns().items()})

    def _columns(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


class BatchRandom:
    """Random numbers, one or several per row of a batch, from one generator.

    Args:
        count: Number of rows.
        generator: Source of randomness; None for torch's global one.
    """

    def __init__(self, count: int, generator: Generator | None = None) -> None:
        self.count, self.generator = count, generator

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Float[Tensor, "row *shape"]:
        """Sample uniformly from [low, high), `shape` values per row."""
        return low + (high - low) * torch.rand(self.count, *shape, generator=self.generator)

    def signed(self, low: float, high: float) -> Float[Tensor, " row"]:
        """Sample a magnitude uniformly from [low, high) and a sign with equal probability."""
        return self.uniform(low, high) * torch.where(self.bernoulli(0.5), 1.0, -1.0)

    def bernoulli(self, probability: float) -> Bool[Tensor, " row"]:
        """Sample True with the given probability."""
        return self.uniform() < probability

    def choice(self, choices: tuple[int, ...]) -> Int[Tensor, " row"]:
        """Choose one of the given numbers per row with equal probability; a repeated one counts twice."""
        return torch.tensor(choices)[torch.randint(len(choices), (self.count,), generator=self.generator)]
