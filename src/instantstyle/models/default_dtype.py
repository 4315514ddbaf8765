"""The dtype in which a model is loaded if the caller gives none."""

from functools import cache
from math import inf
from time import perf_counter

import torch

from ..utils.device import pick_device

MATRIX_SIDE = 256
"""Side of the matrices of the measurement: large enough that arithmetic dominates, and finished in 0.1 s even
where bfloat16 is emulated."""

MIN_SPEEDUP = 1.3
"""Speedup from which bfloat16 is preferred over the more exact float32."""


def default_dtype(device: str | torch.device | None, *, exact: bool = False, needs_range: bool = False) -> torch.dtype:
    """Choose the dtype for a device.

    Args:
        device: A torch device; None is the CPU.
        exact: Whether to use float32 on a CPU in any case.
        needs_range: Whether activations exceed the range of float16, as those of FLUX.1 and its T5 do (diffusers'
            page on Flux, "Running FP16 inference").

    Returns:
        float16 on a GPU, or bfloat16 where that range is needed; on a CPU float32, or bfloat16 if it is measured to
        be faster.
    """
    if device is not None and torch.device(device).type != "cpu":
        return torch.bfloat16 if needs_range else torch.float16
    return torch.float32 if exact else fastest_cpu_dtype()


def resolve_device(device: str | torch.device) -> torch.device:
    """Return a device that exists on this machine.

    Raises:
        JobError: torch knows no such device, or this machine has none; the message lists those that it has.
    """
    return torch.device(pick_device(str(device)))


ROUNDS = 8
"""Products of each dtype, by turns, of which the fastest counts: other programs slow some of them down."""

HOPELESS = 10.0
"""Slowdown in bfloat16 from which no further products are measured: it is emulated."""


@cache
def fastest_cpu_dtype() -> torch.dtype:
    """Measure a matrix product in both dtypes; a CPU without bfloat16 is hundreds of times slower in it."""
    for dtype in (torch.float32, torch.bfloat16):
        _time_product(dtype)  # to warm up
    plain = half = inf
    for _ in range(ROUNDS):
        plain, half = min(plain, _time_product(torch.float32)), min(half, _time_product(torch.bfloat16))
        if half > HOPELESS * plain:
            break
    return torch.bfloat16 if plain / half >= MIN_SPEEDUP else torch.float32


def _time_product(dtype: torch.dtype) -> float:
    """Return the seconds of one product."""
    matrix = torch.ones(MATRIX_SIDE, MATRIX_SIDE, dtype=dtype)
    start = perf_counter()
    torch.mm(matrix, matrix)
    return perf_counter() - start
