"""How strongly a style acts in each frame of a video."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from ..utils.numbers import is_finite_number, read_numbers
from ..utils.text import shorten

FrameWeights = Sequence[float] | Callable[[float], float]
"""Factors on the scale over the frames: a list, or a function of the share of the frames in 0..1.

Frame i (from 0) of n has the share i/(n − 1), one frame alone 0. Factor j of m applies at the share j/(m − 1),
linearly interpolated between, so that a list of n factors has one for each frame.
"""


def copy_frame_weights(weights: object) -> FrameWeights | None:
    """Check the caller's weights of frames.

    Args:
        weights: `FrameWeights`; None for the same in all frames.

    Returns:
        The function, or a copy of the list as a tuple.

    Raises:
        StyleError: They are neither a function nor finite numbers.
    """
    if weights is None or callable(weights):
        return cast("Callable[[float], float] | None", weights)
    numbers = read_numbers(weights)
    if not numbers:
        raise StyleError(
            f"frames is {shorten(weights)}; it is one finite number or several, or a function of the share of the "
            "frames (0..1)."
        )
    return tuple(numbers)


def weigh_frames(weights: FrameWeights, num_frames: int) -> Float[Tensor, "frames"]:
    """Compute the factor of each frame.

    Args:
        weights: The weights, as `copy_frame_weights` returns them.
        num_frames: Number of frames of the video, from 1.

    Raises:
        StyleError: A function returns something else than a finite number.
    """
    shares = np.linspace(0, 1, num_frames)
    if not callable(weights):
        return torch.from_numpy(np.interp(shares, np.linspace(0, 1, len(weights)), weights)).float()
    factors = [weights(float(share)) for share in shares]
    for share, factor in zip(shares, factors, strict=True):
        if not is_finite_number(factor):
            raise StyleError(f"frames returns {shorten(factor)} at {share:g} of the frames; it must be a number.")
    return torch.tensor(factors, dtype=torch.float32)
