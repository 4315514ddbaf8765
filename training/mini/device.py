"""Where training computes: on a GPU if there is one, else on the CPU.

A run makes this torch's default device, so that all that is made in it is there, random numbers too.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch import Generator


@cache
def here() -> torch.device:
    """What a run makes the default device."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def at_home() -> AbstractContextManager[object]:
    """A run's block; the CPU is the default anyway, and to have torch say so costs time at every call."""
    return here() if here().type == "cuda" else nullcontext()


def machine() -> str:
    """Where this is computed, as people call it."""
    return torch.cuda.get_device_name() if here().type == "cuda" else f"{os.cpu_count()} CPU cores"


def dice(seed: int) -> Generator:
    """Random numbers on the default device; another kind of device rolls others."""
    return Generator(torch.get_default_device()).manual_seed(seed)
