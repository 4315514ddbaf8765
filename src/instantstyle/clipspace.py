"""Arithmetic on CLIP embeddings: take content out of a picture, mix pictures. Pure functions.

All of them act on raw projected embeddings. They are not normalised: a CLIP image embedding is longer
than a text embedding, and the adapter that reads the result was trained on raw ones.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import StyleError, did_you_mean

CONTENT_SCALE = 0.5
"""How much of the content is removed when the caller does not say: the public default of `InstantStyle`."""


def subtract(
    embeds: Float[Tensor, "*images dim"], content: Float[Tensor, "phrases dim"], scale: float
) -> Float[Tensor, "*images dim"]:
    """e' = e − s · Σ t. arXiv 2404.02733, section 3.2: image feature minus content text feature.

    The paper has one phrase and s = 1; the sum and s are ours.
    """
    return embeds - scale * content.sum(dim=0)


def project(
    embeds: Float[Tensor, "*images dim"], content: Float[Tensor, "phrases dim"], scale: float
) -> Float[Tensor, "*images dim"]:
    """e' = e − s · (e·t̂) t̂: only what lies along the content goes; for several phrases, along their span.

    t⁺t projects onto the rows of t, whatever their order and even where they repeat each other, which
    removing one phrase after the other would not.
    """
    onto_content = torch.linalg.pinv(content) @ content
    return embeds - scale * (embeds @ onto_content)


REMOVALS = {"subtract": subtract, "project": project}


def check_removal(removal: str) -> None:
    """`StyleError` unless `removal` is one of `REMOVALS`."""
    if removal not in REMOVALS:
        legal = ", ".join(REMOVALS)
        raise StyleError(
            f"removal cannot be {removal!r}; it is one of {legal}.{did_you_mean(removal, [*REMOVALS])}"
        )


def remove(
    embeds: Float[Tensor, "*images dim"],
    content: Float[Tensor, "phrases dim"],
    scale: float,
    removal: str = "subtract",
) -> Float[Tensor, "*images dim"]:
    """Take the content out of the picture's embedding, by the way that `removal` names."""
    check_removal(removal)
    if scale == 0 or not len(content):
        return embeds
    return REMOVALS[removal](embeds, content, scale)


def mix(
    embeds: Float[Tensor, "images *features dim"], weights: Sequence[float]
) -> Float[Tensor, "*features dim"]:
    """Σ wᵢeᵢ / Σ wᵢ over pictures: each picture is weighed as a whole, and order does not matter."""
    shares = torch.tensor(weights, dtype=embeds.dtype, device=embeds.device)
    return torch.tensordot(shares / shares.sum(), embeds, dims=1)
