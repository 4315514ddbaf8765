"""Calls of a UNet on some rows of a batch, whose output stands for the other rows too."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TEXT = "encoder_hidden_states"


@dataclass(frozen=True)
class KeptRows:
    """Rows of a batch to compute."""

    kept: Sequence[int]
    stand_ins: Sequence[int]
    """For each row of the whole batch the place in `kept` whose output it gets."""


class PartialBatch:
    """Runs a UNet on some rows of its batches."""

    def __init__(self) -> None:
        self._text: tuple[Tensor, tuple[int, ...], Any] | None = None

    def run(self, forward: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], rows: KeptRows) -> Any:
        """Run the UNet on the rows that are kept.

        Args:
            forward: The network's own call.
            args: Positional arguments for the whole batch.
            kwargs: Keyword arguments for the whole batch.
            rows: The rows.

        Returns:
            The network's output, with a row for each row of the whole batch.
        """
        sample = args[0] if args else kwargs["sample"]
        # Text and control images of a video have a row for each frame.
        frames = sample.shape[2] if sample.ndim == 5 else 1
        sizes = len(sample), len(sample) * frames

        def keep(tensor: Tensor) -> Tensor:
            return _take_rows(tensor, rows.kept, len(sample)) if tensor.ndim and len(tensor) in sizes else tensor

        partial = {name: _map_tensors(value, keep) for name, value in kwargs.items() if name != TEXT}
        if TEXT in kwargs:
            # Returns the identical tensor for identical text: the text's K/V cache is keyed by identity.
            if self._text is None or self._text[0] is not kwargs[TEXT] or self._text[1] != tuple(rows.kept):
                self._text = kwargs[TEXT], tuple(rows.kept), _map_tensors(kwargs[TEXT], keep)
            partial[TEXT] = self._text[2]
        output = forward(*_map_tensors(tuple(args), keep), **partial)
        return _map_tensors(output, lambda tensor: _take_rows(tensor, rows.stand_ins, len(rows.kept)))


def _take_rows(tensor: Tensor, rows: Sequence[int], batch: int) -> Tensor:
    """Take rows of a batch; each has as many rows of the tensor as it has frames."""
    frames = len(tensor) // batch
    if list(rows) == list(range(rows[0], rows[0] + len(rows))):
        return tensor[rows[0] * frames : (rows[0] + len(rows)) * frames]
    chosen = torch.tensor(rows, device=tensor.device)
    return tensor.unflatten(0, (batch, frames))[chosen].flatten(0, 1)


def _map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply `change` to every tensor in nested mappings, lists and tuples."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        # A diffusers output is a mapping too, and keeps its type.
        return type(value)(**{name: _map_tensors(part, change) for name, part in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_map_tensors(part, change) for part in value)
    return value
