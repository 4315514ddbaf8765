"""The device that training runs on: a GPU if there is one, otherwise the CPU.

A run makes it torch's default device, so that every tensor, random numbers included, is created there.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch import Generator


@cache
def training_device() -> torch.device:
    """Return the device that a run makes torch's default."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_training_device() -> AbstractContextManager[object]:
    """Return a context in which the training device is torch's default.

    On a CPU the context does nothing: the CPU is the default, and setting a default slows every torch call
    down.
    """
    return training_device() if training_device().type == "cuda" else nullcontext()


def describe_machine() -> str:
    """Return the name of the GPU, or the number of CPU cores."""
    return torch.cuda.get_device_name() if training_device().type == "cuda" else f"{os.cpu_count()} CPU cores"


def seeded_generator(seed: int) -> Generator:
    """Return a generator on the default device; its numbers depend on the kind of device."""
    return Generator(torch.get_default_device()).manual_seed(seed)
