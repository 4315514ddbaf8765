"""Rows of tensors that belong together: indexed, moved and joined as one."""

from dataclasses import fields
from typing import Self

import torch
from torch import Generator, Tensor


class Batch:
    """Base of the world's frozen dataclasses: every field is a tensor (or a Batch) of equal length."""

    def _each(self, change) -> Self:
        return type(self)(*(change(getattr(self, field.name)) for field in fields(self)))

    def __getitem__(self, rows) -> Self:
        return self._each(lambda column: column[rows])

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def to(self, device: torch.device | str) -> Self:
        return self._each(lambda column: column.to(device))

    def where(self, keep: Tensor, other: Self) -> Self:
        """This batch's row where `keep`, the other's elsewhere."""
        order = torch.arange(len(self)) + torch.where(keep, 0, len(self))
        return self.joined(other)[order]

    def joined(self, other: Self) -> Self:
        columns = zip(*([getattr(part, field.name) for field in fields(part)] for part in (self, other)), strict=True)
        return type(self)(*(a.joined(b) if isinstance(a, Batch) else torch.cat([a, b]) for a, b in columns))


class Dice:
    """Draws of one length from one generator."""

    def __init__(self, count: int, generator: Generator | None = None):
        self.count, self.generator = count, generator

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(self.count, *shape, generator=self.generator)

    def chance(self, probability: float) -> Tensor:
        return self.uniform() < probability

    def pick(self, choices: tuple[int, ...]) -> Tensor:
        """One of the given numbers a row, all equally likely."""
        return torch.tensor(choices)[torch.randint(len(choices), (self.count,), generator=self.generator)]
