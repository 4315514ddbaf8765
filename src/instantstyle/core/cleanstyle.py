"""CleanStyle's method (arXiv 2602.20721) on the keys and the values of a layer, as in the code of its authors.

Removal `clean`, `content_removal.token_shift`, is a variant on tokens. Here K is the keys, or the values, of one style
in one layer, [tokens width], with singular value decomposition K = Σ uᵢσᵢvᵢᵀ, and t the share of the steps up to and
including the current one:

    conditional    σᵢ' = σᵢ·e^(−α(1 − s_t)σᵢ)  for i > k, σᵢ for i ≤ k;   s_t = S(γ(t − c)), S the logistic function
    unconditional  σᵢ' = σᵢ·e^(−0.2·σᵢ)        for all i, at all steps

with k = 1, α = 0.01, γ = 20 and c = 0.3 (their settings for InstantStyle; the β before the first product is 1 in all
of their code). The effect of these exponents depends on the size of a network's keys and values. Their code does so
only where a batch has two rows, one image with guidance; here every row of a batch is treated alike.

A content scale s, an extension, multiplies α and moves the unconditional row from B, that without a reference, to
B + s·(K' − B): 1 is the authors' method, and 0 leaves everything as it is, bit for bit.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .content_removal import CENTRE, HEAD, RATE

TAIL_EXPONENT = 0.01
"""α of CleanStyle's code (`attn_svd_alpha`)."""

UNCONDITIONAL_EXPONENT = 0.2
"""The exponent of the unconditional half in CleanStyle's code."""


@dataclass(frozen=True)
class SingularTail:
    """The singular components after the first `HEAD` of keys or values, U·diag(σ)·Vᵀ."""

    left: Float[Tensor, "*rows tokens components"]
    sigma: Float[Tensor, "*rows components"]
    right: Float[Tensor, "*rows components width"]

    @classmethod
    def of(cls, x: Float[Tensor, "*rows tokens width"]) -> "SingularTail":
        """Decompose keys or values, in float32 at least."""
        u, sigma, v = torch.linalg.svd(x if x.dtype == torch.float64 else x.float(), full_matrices=False)
        return cls(u[..., HEAD:], sigma[..., HEAD:], v[..., HEAD:, :])

    def to(self, x: Tensor) -> "SingularTail":
        """Move to the device of `x`; the dtype stays, as exponents of large values need it."""
        return SingularTail(*(part.to(x.device) for part in (self.left, self.sigma, self.right)))

    def shrunk_by(self, exponent: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows tokens width"]:
        """Return what shrinking σ to σ·e^(−aσ) adds to the keys or values: U·diag(σ(e^(−aσ) − 1))·Vᵀ.

        Args:
            exponent: a; at 0 the result is exactly 0.
        """
        change = self.sigma * torch.expm1(-exponent[..., None] * self.sigma)
        return (self.left * change[..., None, :]) @ self.right


def suppression(progress: float) -> float:
    """Compute 1 − s_t = S(γ(c − t)): near 1 at first, ½ at c, then 0.

    Args:
        progress: t, the share of the steps up to and including the current one, 0..1.
    """
    return torch.sigmoid(torch.tensor(RATE * (CENTRE - progress), dtype=torch.float64)).item()


def unconditional_keys(
    style: Float[Tensor, "*rows tokens width"], plain: Float[Tensor, "*rows tokens width"], scale: float
) -> Float[Tensor, "*rows tokens width"]:
    """Compute B + s·(K' − B), K' the keys or values K with every σ shrunk to σ·e^(−0.2·σ).

    Args:
        style: K, of the style.
        plain: B, without a reference.
        scale: s, the content scale; 0 returns the identical tensor.
    """
    if scale == 0:
        return plain
    u, sigma, v = torch.linalg.svd(style.float(), full_matrices=False)
    shrunk = (u * (sigma * torch.exp(-UNCONDITIONAL_EXPONENT * sigma))[..., None, :]) @ v
    return plain + scale * (shrunk.to(plain) - plain)
