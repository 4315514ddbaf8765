"""The colours of one picture with the texture of another (SADis, arXiv 2503.14275): equations on tensors.

With e(A) the embedding, or the patch features, of the picture A that gives the colours, and e(B) that of the picture B
that gives the texture:

    blended   e = α·e(A) − α·e(grey A) + τ·e(grey B)

What a picture loses when it becomes grey is its colour; what a grey picture still has is texture. Grey is the luma of
ITU-R 601 of the sRGB values, as Pillow's mode `L`, which the authors use. α = 1.1 and τ = 1 are the settings of their
code for SDXL; their two weights α of the first terms are one here, as they are equal there.

    coloured  z' = (1 − g)·z + g·WCT(z, z_A)

is their regularised whitening–colouring of latents, see `whiten_and_colour`. One further step of their code is left
out: for Plus adapters it shrinks the singular values of e(grey B) beside the features of an even grey picture to
σ·e^(−0.003·σ), against a grey cast.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

COLOUR_SCALE = 1.1
"""α of the authors' code (`color_scale`, `color_sub_scale`)."""

TEXTURE_SCALE = 1.0
"""τ of the authors' code (`texture_scale`)."""

SMALLEST_EIGENVALUE = 1e-5
"""Directions of a covariance below it hold nothing to whiten or to colour, as in the authors' code."""


@dataclass(frozen=True, eq=False)
class Texture:
    """The grey pictures that give a style its texture, and how much of colours and texture is used."""

    embeds: Float[Tensor, "refs *features dim"]
    """e(grey B) of each picture."""
    weights: tuple[float, ...] = (1.0,)
    name: str = "reference"
    colour_scale: float = COLOUR_SCALE
    """α, 0 for no colours."""
    texture_scale: float = TEXTURE_SCALE
    """τ, 0 for no texture."""


def blend_colour_and_texture(
    colour: Float[Tensor, "*features dim"],
    colour_grey: Float[Tensor, "*features dim"],
    texture_grey: Float[Tensor, "*features dim"],
    colour_scale: float = COLOUR_SCALE,
    texture_scale: float = TEXTURE_SCALE,
) -> Float[Tensor, "*features dim"]:
    """Compute e = α·e(A) − α·e(grey A) + τ·e(grey B) (SADis, arXiv 2503.14275).

    Args:
        colour: e(A), of the picture that gives the colours.
        colour_grey: e(grey A), of the same picture made grey.
        texture_grey: e(grey B), of the picture that gives the texture, made grey.
        colour_scale: α, 0 for no colours.
        texture_scale: τ, 0 for no texture.

    Returns:
        The embedding that takes the place of a reference's.
    """
    return colour_scale * (colour - colour_grey) + texture_scale * texture_grey


def subtract_mean(
    embeds: Float[Tensor, "images *features dim"], weights: Sequence[float]
) -> Float[Tensor, "*features dim"]:
    """Compute e = e₀ − (1/n) Σ (wᵢ/w₀)·eᵢ over the n images after the first.

    With equal weights this is e₀ − mean(eᵢ), `subtract` of ComfyUI IPAdapter Plus, whose nodes have no weights for it;
    these are an extension. Only the proportions of weights matter, as in a weighted mean.
    """
    shares = torch.tensor(weights, dtype=embeds.dtype, device=embeds.device) / weights[0]
    return embeds[0] - torch.tensordot(shares[1:], embeds[1:], dims=1) / (len(embeds) - 1)


def whiten_and_colour(
    content: Float[Tensor, "channels *content_size"], style: Float[Tensor, "channels *style_size"]
) -> Float[Tensor, "channels *content_size"]:
    """Give the channels of one tensor the mean and the covariance of another's: regularised WCT.

    With x and y the pixels of both, one column each, centred, and their covariances over pixels

        C = x·xᵀ/(n − 1) + I        S = y·yᵀ/(m − 1)

    the result is S^½ · C^(−½) · x + mean(y). WCT is that of arXiv 1705.08086; the identity that is added to C is the
    regularisation of SADis (arXiv 2503.14275): directions in which x hardly varies are not blown up to those of y.
    So the result's covariance is S^½ · C^(−½) · (C − I) · C^(−½) · S^½, which is S only where x varies much more than
    by 1. Computed in float64.

    Args:
        content: The latents z that are coloured.
        style: The latents z_A whose colours they get; of any size.

    Returns:
        Coloured latents, in the dtype of `content`.
    """
    x, y = content.flatten(1).double(), style.flatten(1).double()
    x, mean = x - x.mean(dim=1, keepdim=True), y.mean(dim=1, keepdim=True)
    covariance = _covariance(x) + torch.eye(len(x), dtype=x.dtype, device=x.device)
    coloured = _power(_covariance(y - mean), 0.5) @ _power(covariance, -0.5) @ x + mean
    return coloured.view(content.shape).to(content.dtype)


def _covariance(centred: Float[Tensor, "channels pixels"]) -> Float[Tensor, "channels channels"]:
    return centred @ centred.mT / max(centred.shape[1] - 1, 1)


def _power(matrix: Float[Tensor, "channels channels"], exponent: float) -> Float[Tensor, "channels channels"]:
    """Raise a symmetric matrix without negative eigenvalues to a power; those close to 0 stay 0."""
    values, vectors = torch.linalg.eigh(matrix)
    kept = values >= SMALLEST_EIGENVALUE
    powers = torch.where(kept, values.clamp(min=SMALLEST_EIGENVALUE) ** exponent, 0.0)
    return vectors @ torch.diag(powers) @ vectors.mT
