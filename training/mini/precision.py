"""bf16 where this machine multiplies it faster than float32: measured once, never guessed by name."""

import time
from contextlib import AbstractContextManager
from functools import cache

import torch

TRIALS, SIDE = 3, 512


def quick() -> AbstractContextManager[None]:
    """A block whose networks compute in bf16, if that is quicker here; their weights stay float32."""
    on = torch.get_default_device().type
    return torch.autocast(on, dtype=torch.bfloat16, enabled=on == "cuda" or bf16_is_quicker())


@cache
def bf16_is_quicker() -> bool:
    """Whether on this CPU a matrix product in bf16 takes less than two thirds of its time in float32."""
    return _seconds(torch.bfloat16) < _seconds(torch.float32) / 1.5


def _seconds(dtype: torch.dtype) -> float:
    """The shortest of some trials, after one that warms up."""
    a = torch.randn(SIDE, SIDE).to(dtype)
    times = []
    for _ in range(TRIALS + 1):
        begun = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - begun)
    return min(times[1:])
