"""Image embedding → image tokens: the three small networks that IP-Adapters come with.

Functions on frozen weights, named as in the checkpoint; they equal diffusers' `ImageProjection`,
`IPAdapterFullImageProjection` and `IPAdapterPlusImageProjection`.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..loaders.projection_config import HEAD_WIDTH

Weights = Mapping[str, Tensor]


def project_tokens(
    kind: str, weights: Weights, features: Float[Tensor, "images *patches dim"]
) -> Float[Tensor, "images tokens cross_dim"]:
    """The adapter's image tokens; `kind` says which network `weights` holds."""
    return PROJECTIONS[kind](weights, features)


def base_tokens(
    weights: Weights, embeds: Float[Tensor, "images dim"]
) -> Float[Tensor, "images tokens cross_dim"]:
    """LayerNorm(Linear(e)) with the linear's output cut into tokens."""
    flat = F.linear(embeds, weights["proj.weight"], weights["proj.bias"])
    cross_dim = weights["norm.weight"].shape[0]
    return _norm(weights, "norm", flat.unflatten(-1, (-1, cross_dim)))


def full_tokens(
    weights: Weights, features: Float[Tensor, "images patches dim"]
) -> Float[Tensor, "images patches cross_dim"]:
    """One token for each patch, through a two-layer perceptron."""
    hidden = F.gelu(F.linear(features, weights["proj.0.weight"], weights["proj.0.bias"]))
    return _norm(weights, "proj.3", F.linear(hidden, weights["proj.2.weight"], weights["proj.2.bias"]))


def resampled_tokens(
    weights: Weights, features: Float[Tensor, "images patches dim"]
) -> Float[Tensor, "images tokens cross_dim"]:
    """The Plus adapters' resampler: learnt queries ask the patches, layer by layer (arXiv 2204.14198)."""
    patches = F.linear(features, weights["proj_in.weight"], weights["proj_in.bias"])
    latents = weights["latents"].expand(len(features), -1, -1)
    for depth in range(_depth(weights)):
        latents = latents + _perceiver_attention(weights, f"layers.{depth}.0", patches, latents)
        latents = latents + _feed_forward(weights, f"layers.{depth}.1", latents)
    return _norm(weights, "norm_out", F.linear(latents, weights["proj_out.weight"], weights["proj_out.bias"]))


PROJECTIONS = {"base": base_tokens, "full": full_tokens, "plus": resampled_tokens}


def _norm(weights: Weights, name: str, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def _depth(weights: Weights) -> int:
    return len({name.split(".")[1] for name in weights if name.startswith("layers.")})


def _perceiver_attention(
    weights: Weights,
    name: str,
    patches: Float[Tensor, "images patches dim"],
    latents: Float[Tensor, "images tokens dim"],
) -> Float[Tensor, "images tokens dim"]:
    """Attention from the latents to patches and latents together."""
    latents = _norm(weights, f"{name}.norm2", latents)
    seen = torch.cat([_norm(weights, f"{name}.norm1", patches), latents], dim=1)
    query = _heads(F.linear(latents, weights[f"{name}.to_q.weight"]))
    key, value = map(_heads, F.linear(seen, weights[f"{name}.to_kv.weight"]).chunk(2, dim=-1))
    answer = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    return F.linear(answer, weights[f"{name}.to_out.weight"])


def _heads(x: Float[Tensor, "images tokens inner"]) -> Float[Tensor, "images heads tokens head"]:
    return x.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)


def _feed_forward(
    weights: Weights, name: str, x: Float[Tensor, "images tokens dim"]
) -> Float[Tensor, "images tokens dim"]:
    hidden = F.gelu(F.linear(_norm(weights, f"{name}.0", x), weights[f"{name}.1.weight"]))
    return F.linear(hidden, weights[f"{name}.3.weight"])
