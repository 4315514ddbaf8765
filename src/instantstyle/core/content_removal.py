"""Arithmetic on CLIP embeddings: take content out of a picture, mix pictures. Pure functions.

All of them act on raw projected embeddings. They are not normalised: a CLIP image embedding is longer
than a text embedding, and the adapter that reads the result was trained on raw ones.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import StyleError, did_you_mean

CLEAN = "clean"
"""The removal that acts on tokens and not here: see cleaning.py."""

CONTENT_SCALES = {"subtract": 0.5, "project": 0.5, "mask": 1.0, CLEAN: 1.0}
"""How much is removed where the caller does not say, by removal. Of subtract the public default of
`InstantStyle`, and of project the same; mask and clean have no scale in their papers: they act in full."""

CLUSTERS = 2
"""Of the products in `mask`, of which the higher goes; as in the code of MaskST's authors."""

MOST = 10.0
"""What `enough` goes up to: the largest amount that a recipe holds."""


def subtract(
    embeds: Float[Tensor, "*images dim"], content: Float[Tensor, "phrases dim"], scale: float
) -> Float[Tensor, "*images dim"]:
    """e' = e − s · Σ t. arXiv 2404.02733, section 3.3: image feature minus content text feature.

    There s = 1, and Figure 13 raises it step by step; the sum over several phrases is ours.
    """
    return embeds - scale * content.sum(dim=0)


def project(
    embeds: Float[Tensor, "*images dim"], content: Float[Tensor, "phrases dim"], scale: float
) -> Float[Tensor, "*images dim"]:
    """e' = e − s · (e·t̂) t̂: only what lies along the content goes; for several phrases, along their span.

    After CLeaR, section 3.1, where t is of a picture drawn from the words; s and the span are ours.
    t⁺t projects onto the rows of t, whatever their order and even where they repeat each other, which
    removing one phrase after the other would not.
    """
    onto_content = torch.linalg.pinv(content) @ content
    return embeds - scale * (embeds @ onto_content)


def mask(
    embeds: Float[Tensor, "*images dim"], content: Float[Tensor, "phrases dim"], scale: float
) -> Float[Tensor, "*images dim"]:
    """e' = e − s · m⊙e, mᵢ = 1 where eᵢtᵢ is in the highest cluster of all of e⊙t. MaskST, arXiv 2502.07466.

    At s = 1, the paper's only one, these elements are zero. Ours: an element whose product is 0 or below
    stays, wherever the clusters part, as words and picture do not agree there. Of several phrases each has
    its own clusters, and an element goes if it is high for any: in products with their sum, phrases that
    differ in sign would hide each other. (The authors give one sentence that names several things.) Lengths
    of e and t do not matter.
    """
    products = embeds[..., None, :] * content
    high = torch.stack([_high(row) for row in products.flatten(0, -2)]).view(products.shape)
    return embeds - scale * (embeds * high.any(dim=-2))


def _high(products: Float[Tensor, " dim"]) -> Bool[Tensor, " dim"]:
    """Those of the highest cluster; none where all are 0 or below."""
    return (products >= highest_cluster(products, CLUSTERS)) & (products > 0)


def highest_cluster(values: Float[Tensor, " count"], clusters: int) -> float:
    """The least value in the highest cluster of the best k-means there is.

    In one dimension clusters are stretches of the sorted values, so that the least sum of squares is found
    exactly, cluster by cluster: best'(j) = minᵢ best(i − 1) + cost(i…j). No start, no chance.
    """
    ordered = values.double().sort().values
    cost = _stretches(ordered)
    best, start = cost[0], 0
    for _ in range(min(clusters, len(ordered)) - 1):
        best, starts = (best[:-1, None] + cost[1:]).min(dim=0)
        start = int(starts[-1]) + 1
    return ordered[start].item()


def _stretches(ordered: Float[Tensor, " count"]) -> Float[Tensor, "count count"]:
    """Σ (x − x̄)² = Σ x² − (Σ x)²/n of the stretch from row to column; endless where none is."""
    sums, squares = (torch.cat([x.new_zeros(1), x.cumsum(0)]) for x in (ordered, ordered**2))
    lengths = torch.arange(1, len(ordered) + 1) - torch.arange(len(ordered))[:, None]
    within = squares[1:] - squares[:-1, None] - (sums[1:] - sums[:-1, None]) ** 2 / lengths.clamp(min=1)
    return within.masked_fill(lengths < 1, torch.inf)


REMOVALS = {"subtract": subtract, "project": project, "mask": mask}


def check_removal(removal: str) -> None:
    """`StyleError` unless `removal` is one of `REMOVALS`, or clean."""
    if removal not in CONTENT_SCALES:
        known = [*CONTENT_SCALES]
        raise StyleError(
            f"removal cannot be {removal!r}; it is one of {', '.join(known)}.{did_you_mean(removal, known)}"
        )


def default_scale(removal: str) -> float:
    """How much is removed in this way where nobody says."""
    check_removal(removal)
    return CONTENT_SCALES[removal]


def remove(
    embeds: Float[Tensor, "*images dim"],
    content: Float[Tensor, "phrases dim"],
    scale: float,
    removal: str = "subtract",
) -> Float[Tensor, "*images dim"]:
    """Take the content out of the picture's embedding, by the way that `removal` names.

    At scale 0 the very embedding comes back; and from clean, which acts on tokens.
    """
    check_removal(removal)
    if scale == 0 or not len(content) or removal == CLEAN:
        return embeds
    return REMOVALS[removal](embeds, content, scale)


def auto_content_scale(
    embed: Float[Tensor, " dim"], content: Float[Tensor, "phrases dim"], unrelated: float, removal: str
) -> float:
    """The least s after which cos(e', t) is no more than c₀, an unrelated picture's; t = Σ phrases. Ours.

    With a = e·t̂: subtract leaves a − s|t| along t̂ and b² = |e|² − a² beside it, whose cosine is c₀ at
    s = (a − c₀b/√(1 − c₀²)) / |t|. Project leaves the share u = 1 − s of p, what of e lies in the phrases'
    span, and all of q, what lies beside it: ua = c₀√(q² + u²p²), so that u = c₀q/√(a² − c₀²p²); for one
    phrase both leave the same. Never negative, and 0 where the picture is no closer already; a c₀ below 0
    counts as 0, so that never more is taken out than there is; at most `MOST`.
    """
    embed, content = embed.double(), content.double()
    direction, bound = content.sum(dim=0), max(unrelated, 0.0)
    size, length = embed.norm().item(), direction.norm().item()
    along = (embed @ direction).item() / length if length else 0.0
    if along <= bound * size:
        return 0.0
    if removal == "subtract":
        beside = max(size**2 - along**2, 0.0) ** 0.5
        return min(max((along - bound * beside / (1 - bound**2) ** 0.5) / length, 0.0), MOST)
    left = project(embed, content, 1.0)
    inside = (embed - left).norm().item()
    return max(1 - bound * left.norm().item() / (along**2 - (bound * inside) ** 2) ** 0.5, 0.0)


def mix(
    embeds: Float[Tensor, "images *features dim"], weights: Sequence[float]
) -> Float[Tensor, "*features dim"]:
    """Σ wᵢeᵢ / Σ wᵢ over pictures: each picture is weighed as a whole, and order does not matter."""
    shares = torch.tensor(weights, dtype=embeds.dtype, device=embeds.device)
    return torch.tensordot(shares / shares.sum(), embeds, dims=1)
