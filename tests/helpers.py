"""Small tools that tests share."""

from torch import Generator


def dice(seed: int) -> Generator:
    return Generator().manual_seed(seed)
