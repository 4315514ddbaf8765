"""Content out of a style's tokens, without words: by their singular values, over the steps of a drawing.

After CleanStyle, arXiv 2602.20721: the look is in the first component of the tokens, content in the tail.
With T = UΣVᵀ = H + L (head, tail), B the tokens of no picture, d the share of the steps done, s the amount:

    left           w(d) = S(γ(c − d)) / S(γc)           S the logistic function: 1 at first, ½ near c, then 0
    conditional    T(d) = H + (1 − s·w(d)) · L          the tail held back while things take shape
    unconditional  B'   = B + s · (L − B)               guidance draws away from the tail

Head, c, γ and which way the schedule runs are those of the authors' code (as published with the paper, in
its settings for InstantStyle and StyleShot). It differs in three ways. It parts the keys and values of each
layer at each step; we part the tokens they are made of, once, which is its option for the encoder's features:
keys and values are linear in tokens, so that what is added is made once and only weighed at each step. It
shrinks a singular value σ to σe^(−ασ), α = 0.01·w; what that leaves depends on the units of a network's keys,
so we hold back a share s of the tail, whatever its σ. And its unconditional side has every component, the
head's too, at σe^(−0.2σ), by which the large ones all but vanish; ours has the tail as it is.
"""

import torch
from jaxtyping import Float
from torch import Tensor

HEAD = 1
"""Components that are the head, as in the authors' code, of however many: base adapters have 4, Plus 16."""

CENTRE = 0.3
"""c, theirs: about here half of the tail is back."""

RATE = 20.0
"""γ, theirs: from a tenth held back to a tenth back takes 0.22 of the steps."""

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
    """w(d): how much of what is added at the first step is added now; `done` is 0..1, a share of steps."""
    rate = torch.as_tensor(rate).to(done)
    # Divided by its first value, which theirs is not (it begins at 0.998): at rate 0 it is 1 throughout.
    return torch.sigmoid(rate * (CENTRE - done)) / torch.sigmoid(rate * CENTRE)


def shift(
    tokens: Float[Tensor, "2 *pictures tokens width"], amount: float
) -> Float[Tensor, "2 *pictures tokens width"]:
    """What is added at the first step: s(L − B) to no picture in row 0, −sL to the style in row 1."""
    blank, seen = tokens
    _, tail = head_and_tail(seen, HEAD)
    return amount * torch.stack([tail - blank, -tail])
