"""Helpers that several tests use."""

from torch import Generator


def seeded_generator(seed: int) -> Generator:
    """Return a CPU generator with a seed."""
    return Generator().manual_seed(seed)
