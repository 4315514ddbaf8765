"""Which numbers a model is loaded in, where the caller does not say."""

from functools import cache
from time import perf_counter

import torch

SIDE = 256
"""Of the matrices that are multiplied to find out: large enough to be all arithmetic, and done in 0.1 s even
where halves are emulated."""

WORTH = 1.3
"""How much faster halves must be to be chosen over the exacter numbers."""


def default_dtype(device: str | torch.device | None, *, exact: bool = False) -> torch.dtype:
    """float16 on a GPU; on a CPU float32, or bfloat16 where that is measured to be faster and not `exact`."""
    if device is not None and torch.device(device).type != "cpu":
        return torch.float16
    return torch.float32 if exact else fastest_on_cpu()


@cache
def fastest_on_cpu() -> torch.dtype:
    """By a product of two matrices in each; a CPU without the instructions is hundreds of times slower."""
    gain = _seconds(torch.float32) / _seconds(torch.bfloat16)
    return torch.bfloat16 if gain >= WORTH else torch.float32


def _seconds(dtype: torch.dtype) -> float:
    """Of one product, the best of three, the first of which only warms up."""
    matrix = torch.ones(SIDE, SIDE, dtype=dtype)
    taken = []
    for _ in range(3):
        begun = perf_counter()
        torch.mm(matrix, matrix)
        taken.append(perf_counter() - begun)
    return min(taken[1:])
