"""Content removal: subtract, project or mask CLIP embeddings, or clean image tokens without words.

The functions on embeddings act on raw projected embeddings. These are not normalised: a CLIP image embedding is
longer than a text embedding, and the adapter that reads the result was trained on raw ones.

Token cleaning is after CleanStyle, arXiv 2602.20721, and is not its method exactly: the style is in the first
singular component of the image tokens, content in the tail. With T = UΣVᵀ = H + L (head and tail), B the
unconditional tokens, d the share of the steps before the current one, and s the content scale:

    weight         w(d) = S(γ(c − d)) / S(γc)           S the logistic function: 1 at first, ½ near c, then 0
    conditional    T(d) = H + (1 − s·w(d)) · L          the tail is held back while shapes form
    unconditional  B'   = B + s · (L − B)               guidance steers away from the tail

Head, c, γ and the direction of the schedule are those of the authors' code (as published with the paper, in its
settings for InstantStyle and StyleShot). This implementation differs in three ways. The authors split the keys
and values of each layer at each step; here the tokens are split once, which is their option for the encoder's
features: keys and values are linear in tokens, so that the shift is computed once and only weighted at each step.
The authors shrink a singular value σ to σe^(−ασ), α = 0.01·w, whose effect depends on the units of a network's
keys; here a share s of the tail is held back, whatever its σ. And their unconditional side has every component,
the head's too, at σe^(−0.2σ), by which the large ones almost vanish; here it has the tail unchanged.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import StyleError, suggest_nearest
from ..utils.numbers import is_finite_number
from ..utils.text import shorten

CLEAN = "clean"
"""The removal that acts on image tokens instead of embeddings."""

CLEANSTYLE = "cleanstyle"
"""The removal that acts on the keys and values of each layer, see `cleanstyle`."""

CONTENT_SCALES = {"subtract": 0.5, "project": 0.5, "mask": 1.0, CLEAN: 1.0, CLEANSTYLE: 1.0}
"""Default content scale by removal. For subtract that of InstantStyle's demo and README example, whose classes have
1.0 as the default of `neg_content_scale`; the same for project. The others have no scale in their papers: they act in
full."""

CLUSTERS = 2
"""Number of clusters of products in `mask`, of which the highest is removed; as in the code of MaskST's authors."""

LARGEST_SCALE = 10.0
"""Upper end of `auto_content_scale`: the largest content scale that a recipe holds."""

HEAD = 1
"""Singular components of the head, as in CleanStyle's code; base adapters have 4 in all, Plus adapters 16."""

CENTRE = 0.3
"""c of CleanStyle's code: about here half of the tail has returned."""

RATE = 20.0
"""γ of CleanStyle's code: the tail returns from a tenth to nine tenths within 0.22 of the steps."""

RATES = (0.0, RATE)
"""Decay rate of the shift by row of keys and values: the unconditional row keeps it, the conditional row does not."""


def subtract(
    embeds: Float[Tensor, "*images dim"], content: Float[Tensor, "phrases *features dim"], scale: float
) -> Float[Tensor, "*images dim"]:
    """Compute e' = e − s · Σ t: image embedding minus content embedding.

    arXiv 2404.02733, "Separating Content from Image", has s = 1, and its Figure 13 raises it step by step. The sum
    over several phrases is an extension. t may be the embedding of a picture as well (`neg_content_emb` of the
    authors' code), or its patch features.
    """
    return embeds - scale * content.sum(dim=0)


def project(
    embeds: Float[Tensor, "*images dim"], content: Float[Tensor, "phrases dim"], scale: float
) -> Float[Tensor, "*images dim"]:
    """Compute e' = e − s · (e·t̂) t̂: remove only the part along the content, or along the span of several phrases.

    After CLeaR, section 3.1, where t is the embedding of an image generated from the words; s and the span are
    extensions. t⁺t projects onto the rows of t, in any order and with repetitions, which removing one phrase after
    the other would not.
    """
    onto_content = torch.linalg.pinv(content) @ content
    return embeds - scale * (embeds @ onto_content)


def mask(
    embeds: Float[Tensor, "*images dim"],
    content: Float[Tensor, "phrases dim"],
    scale: float,
    quantile: float | None = None,
) -> Float[Tensor, "*images dim"]:
    """Compute e' = e − s · m⊙e, with mᵢ = 1 where eᵢtᵢ is in the highest cluster of e⊙t (MaskST, arXiv 2502.07466).

    With a quantile θ, the other rule of the authors' code (`theta`), mᵢ = 1 where eᵢtᵢ is above the θ-quantile of e⊙t,
    whatever its sign; their classes have θ = 0.8, their script for SDXL 0.9.

    At s = 1, the paper's only value, these elements become zero. Two rules are extensions. Between clusters, an
    element whose product is 0 or below stays, wherever they are separated, because words and image do not agree there.
    Each of several phrases has its own clusters, and an element is removed if it is high for any of them: in
    products with the sum of the phrases, phrases of opposite sign would hide each other. (The authors use one
    sentence that names several objects.) The lengths of e and t do not matter.
    """
    products = embeds[..., None, :] * content
    if quantile is None:
        high = torch.stack([_in_highest_cluster(row) for row in products.flatten(0, -2)]).view(products.shape)
    else:
        high = products > torch.quantile(products, quantile, dim=-1, keepdim=True)
    return embeds - scale * (embeds * high.any(dim=-2))


def _in_highest_cluster(products: Float[Tensor, " dim"]) -> Bool[Tensor, " dim"]:
    return (products >= highest_cluster(products, CLUSTERS)) & (products > 0)


def highest_cluster(values: Float[Tensor, " count"], clusters: int) -> float:
    """Return the least value in the highest cluster of the optimal k-means clustering.

    In one dimension clusters are intervals of the sorted values, so that the least sum of squares is found
    exactly, cluster by cluster: best'(j) = minᵢ best(i − 1) + cost(i…j). There is no random initialisation.

    Args:
        values: Values to cluster.
        clusters: Number of clusters; as many as there are values at most.
    """
    ordered = values.double().sort().values
    # Σ (x − x̄)² = Σ x² − (Σ x)²/n of the interval from row to column; infinite where there is none.
    sums, squares = (torch.cat([x.new_zeros(1), x.cumsum(0)]) for x in (ordered, ordered**2))
    lengths = torch.arange(1, len(ordered) + 1) - torch.arange(len(ordered))[:, None]
    cost = squares[1:] - squares[:-1, None] - (sums[1:] - sums[:-1, None]) ** 2 / lengths.clamp(min=1)
    cost = cost.masked_fill(lengths < 1, torch.inf)
    best, start = cost[0], 0
    for _ in range(min(clusters, len(ordered)) - 1):
        best, starts = (best[:-1, None] + cost[1:]).min(dim=0)
        start = int(starts[-1]) + 1
    return ordered[start].item()


REMOVALS = {"subtract": subtract, "project": project, "mask": mask}


def check_removal(removal: object, content_scale: object) -> None:
    """Check a removal's name and scale.

    Raises:
        StyleError: `removal` is neither one of `REMOVALS` nor of `WORDLESS`, or `content_scale` is not a finite
            number, of Python or numpy.
    """
    if not is_finite_number(content_scale):
        raise StyleError(f"content_scale is {shorten(content_scale)}; it is a finite number, 0 for nothing.")
    if not isinstance(removal, str) or removal not in CONTENT_SCALES:
        known = [*CONTENT_SCALES]
        raise StyleError(
            f"removal cannot be {shorten(removal)}; it is one of {', '.join(known)}."
            f"{suggest_nearest(str(removal), known)}"
        )


def check_mask_quantile(quantile: object, removal: str) -> None:
    """Check the quantile of `mask`, which None leaves out.

    Raises:
        StyleError: It is not a share in 0..1, or stands beside another removal.
    """
    if quantile is None:
        return
    if not is_finite_number(quantile) or not 0 <= float(cast(float, quantile)) <= 1:
        raise StyleError(f"mask_quantile is {shorten(quantile)}; it is a share in 0..1 of the elements, or None.")
    if removal != "mask":
        raise StyleError(f"mask_quantile has no effect on removal={removal!r}; leave it out, or use mask.")


def default_scale(removal: str) -> float:
    """Return the content scale that applies where none is given.

    Raises:
        StyleError: There is no such removal.
    """
    check_removal(removal, 0.0)
    return CONTENT_SCALES[removal]


def remove(
    embeds: Float[Tensor, "*images dim"],
    content: Float[Tensor, "phrases *features dim"],
    scale: float,
    removal: str = "subtract",
    mask_quantile: float | None = None,
) -> Float[Tensor, "*images dim"]:
    """Remove the content from image embeddings.

    Args:
        embeds: Raw projected image embeddings, or patch features, from which content can be subtracted only.
        content: Raw projected embeddings of the words or pictures to remove; of patch features, those of pictures.
        scale: How much is removed; 0 returns the identical tensor.
        removal: One of `REMOVALS`; those of `WORDLESS` return the identical tensor, as they act on tokens, or on keys
            and values.
        mask_quantile: θ of `mask`; None separates clusters.

    Returns:
        Embeddings of the same shape.

    Raises:
        StyleError: There is no such removal.
    """
    if removal not in REMOVALS:
        check_removal(removal, scale)
        return embeds
    if scale == 0 or not len(content):
        return embeds
    if removal == "mask":
        return mask(embeds, content, scale, mask_quantile)
    return REMOVALS[removal](embeds, content, scale)


def auto_content_scale(
    embed: Float[Tensor, " dim"], content: Float[Tensor, "phrases dim"], unrelated: float, removal: str
) -> float:
    """Return the least s after which cos(e', t) is at most c₀, that of an unrelated image; t = Σ phrases.

    This rule is this project's own. With a = e·t̂: subtract leaves a − s|t| along t̂ and b² = |e|² − a² beside it,
    whose cosine is c₀ at s = (a − c₀b/√(1 − c₀²)) / |t|. Project leaves the share u = 1 − s of p, the part of e in
    the phrases' span, and all of q, the rest: ua = c₀√(q² + u²p²), so that u = c₀q/√(a² − c₀²p²). For one phrase
    both leave the same.

    Args:
        embed: Raw projected embedding of the reference image.
        content: Raw projected text embeddings of the words to remove.
        unrelated: c₀; a value below 0 counts as 0, so that no more is removed than there is.
        removal: `"subtract"` or `"project"`.

    Returns:
        A scale in 0..`LARGEST_SCALE`; 0 where the image is no closer to the words than c₀.
    """
    embed, content = embed.double(), content.double()
    direction, bound = content.sum(dim=0), max(unrelated, 0.0)
    size, length = embed.norm().item(), direction.norm().item()
    along = (embed @ direction).item() / length if length else 0.0
    if along <= bound * size:
        return 0.0
    if removal == "subtract":
        beside = max(size**2 - along**2, 0.0) ** 0.5
        scale = (along - bound * beside / (1 - bound**2) ** 0.5) / length
        return min(max(scale, 0.0), LARGEST_SCALE)
    rest = project(embed, content, 1.0)
    inside = (embed - rest).norm().item()
    return max(1 - bound * rest.norm().item() / (along**2 - (bound * inside) ** 2) ** 0.5, 0.0)


def weighted_mean(
    embeds: Float[Tensor, "images *features dim"], weights: Sequence[float]
) -> Float[Tensor, "*features dim"]:
    """Compute Σ wᵢeᵢ / Σ wᵢ over images: each image is weighted as a whole, and the order does not matter."""
    shares = torch.tensor(weights, dtype=embeds.dtype, device=embeds.device)
    return torch.tensordot(shares / shares.sum(), embeds, dims=1)


def head_and_tail(
    tokens: Float[Tensor, "*images tokens width"], rank: int
) -> tuple[Float[Tensor, "*images tokens width"], Float[Tensor, "*images tokens width"]]:
    """Split each image's tokens into their first `rank` singular components and the rest."""
    u, sigma, v = torch.linalg.svd(tokens, full_matrices=False)
    head = (u[..., :rank] * sigma[..., None, :rank]) @ v[..., :rank, :]
    return head, tokens - head


def cleaning_weight(progress: Tensor, rate: Tensor | float = RATE) -> Tensor:
    """Compute w(d), the share of the first step's shift that is added at the current step.

    Args:
        progress: d, the share of the steps before the current one, 0..1.
        rate: γ; 0 keeps the weight at 1.
    """
    rate = torch.as_tensor(rate).to(progress)
    # Divided by its first value, which the authors' weight is not (it begins at 0.998): at rate 0 it is always 1.
    return torch.sigmoid(rate * (CENTRE - progress)) / torch.sigmoid(rate * CENTRE)


def token_shift(
    tokens: Float[Tensor, "2 *images tokens width"], scale: float
) -> Float[Tensor, "2 *images tokens width"]:
    """Compute the first step's shift: s(L − B) for the unconditional row 0, −sL for the conditional row 1.

    Args:
        tokens: Unconditional tokens B in row 0, the style's tokens T in row 1.
        scale: s, the content scale.
    """
    unconditional, conditional = tokens
    _, tail = head_and_tail(conditional, HEAD)
    return scale * torch.stack([tail - unconditional, -tail])
