"""Content out of a style's tokens, without words: by their singular values, over the steps of a drawing.

After CleanStyle, arXiv 2602.20721: the look is in the first components of the tokens, content in the tail.
With T = UΣVᵀ = H + L (head, tail), B the tokens of no picture, d the share of the steps done, s the amount:

    conditional    T(d) = H + (1 − s·e^(−λd)) · L      the tail held back, most where things take shape
    unconditional  B'   = B + s · (L − B)               guidance draws away from the tail

Keys and values are linear in tokens: what is added to them is made once, and only weighed at each step. The
split, λ, which way the schedule runs and s are ours.
"""

import torch
from jaxtyping import Float
from torch import Tensor

HEAD = 0.5
"""Share of the components that are the head, ours: 2 of a base adapter's 4, 8 of a Plus adapter's 16."""

RATE = 3.0
"""λ, ours: half of the tail is back at 0.23 of the steps, 95 % of it at the end."""

RATES = (0.0, RATE)
"""By row as keys and values have them: what guidance draws away from stays, what is held back returns."""


def head_and_tail(
    tokens: Float[Tensor, "*pictures tokens width"], rank: int
) -> tuple[Float[Tensor, "*pictures tokens width"], Float[Tensor, "*pictures tokens width"]]:
    """The part of each picture's tokens in their first `rank` singular components, and the rest of them."""
    u, sigma, v = torch.linalg.svd(tokens, full_matrices=False)
    head = (u[..., :rank] * sigma[..., None, :rank]) @ v[..., :rank, :]
    return head, tokens - head


def damping(done: Tensor, rate: Tensor | float = RATE) -> Tensor:
    """e^(−λd): how much of what is added at the first step is added now; `done` is 0..1, a share of steps."""
    return torch.exp(-rate * done)


def shift(
    tokens: Float[Tensor, "2 *pictures tokens width"], amount: float
) -> Float[Tensor, "2 *pictures tokens width"]:
    """What is added at the first step: s(L − B) to no picture in row 0, −sL to the style in row 1."""
    blank, seen = tokens
    _, tail = head_and_tail(seen, max(1, round(HEAD * seen.shape[-2])))
    return amount * torch.stack([tail - blank, -tail])
