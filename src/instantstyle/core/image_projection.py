"""Projection of image embeddings to image tokens: the small networks of IP-Adapters.

Functions on frozen weights, named as in the checkpoint; they equal diffusers' `ImageProjection`,
`IPAdapterFullImageProjection` and `IPAdapterPlusImageProjection`.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import get_timestep_embedding
from jaxtyping import Float
from torch import Tensor

from ..loaders.projection_config import HEAD_WIDTH

Weights = Mapping[str, Tensor]


def base_tokens(weights: Weights, embeds: Float[Tensor, "images dim"]) -> Float[Tensor, "images tokens cross_dim"]:
    """Compute LayerNorm(Linear(e)), with the linear layer's output split into tokens."""
    flat = F.linear(embeds, weights["proj.weight"], weights["proj.bias"])
    cross_dim = weights["norm.weight"].shape[0]
    return _layer_norm(weights, "norm", flat.unflatten(-1, (-1, cross_dim)))


def perceptron_tokens(
    weights: Weights, embeds: Float[Tensor, "images dim"]
) -> Float[Tensor, "images tokens cross_dim"]:
    """Compute LayerNorm(Linear(GELU(Linear(e)))), with the linear layer's output split into tokens."""
    flat = _perceptron(weights, embeds)
    cross_dim = weights["norm.weight"].shape[0]
    return _layer_norm(weights, "norm", flat.unflatten(-1, (-1, cross_dim)))


def full_tokens(
    weights: Weights, features: Float[Tensor, "images patches dim"]
) -> Float[Tensor, "images patches cross_dim"]:
    """Compute one token for each patch with a two-layer perceptron."""
    return _layer_norm(weights, "proj.3", _perceptron(weights, features))


def resampled_tokens(
    weights: Weights, features: Float[Tensor, "images patches dim"]
) -> Float[Tensor, "images tokens cross_dim"]:
    """Apply the Plus adapters' Perceiver resampler: learned queries attend to the patches (arXiv 2204.14198)."""
    patches = F.linear(features, weights["proj_in.weight"], weights["proj_in.bias"])
    latents = weights["latents"].expand(len(features), -1, -1)
    depth = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
    for layer in range(depth):
        latents = latents + perceiver_attention(weights, f"layers.{layer}.0", patches, latents)
        latents = latents + _feed_forward(weights, f"layers.{layer}.1", latents)
    tokens = F.linear(latents, weights["proj_out.weight"], weights["proj_out.bias"])
    return _layer_norm(weights, "norm_out", tokens)


PROJECTIONS = {"base": base_tokens, "mlp": perceptron_tokens, "full": full_tokens, "plus": resampled_tokens}
"""Functions from weights and embeddings, or patch features, to image tokens, by `ProjectionConfig.type`."""


def perceiver_attention(
    weights: Weights,
    name: str,
    patches: Float[Tensor, "images patches dim"],
    latents: Float[Tensor, "images tokens dim"],
) -> Float[Tensor, "images tokens dim"]:
    """Attend from the latents to patches and latents together.

    Args:
        weights: The projection's weights.
        name: Prefix of the layer, `layers.0.0`.
        patches: Projected patch features.
        latents: The latents of the layer before.
    """
    latents = _layer_norm(weights, f"{name}.norm2", latents)
    inputs = torch.cat([_layer_norm(weights, f"{name}.norm1", patches), latents], dim=1)
    return _attend(weights, name, latents, inputs)


def _attend(
    weights: Weights, name: str, latents: Float[Tensor, "images tokens dim"], inputs: Float[Tensor, "images all dim"]
) -> Float[Tensor, "images tokens dim"]:
    query = _split_heads(F.linear(latents, weights[f"{name}.to_q.weight"]))
    key, value = map(_split_heads, F.linear(inputs, weights[f"{name}.to_kv.weight"]).chunk(2, dim=-1))
    result = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    return F.linear(result, weights[f"{name}.to_out.weight"])


def _layer_norm(weights: Weights, name: str, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def _perceptron(weights: Weights, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... out"]:
    hidden = F.gelu(F.linear(x, weights["proj.0.weight"], weights["proj.0.bias"]))
    return F.linear(hidden, weights["proj.2.weight"], weights["proj.2.bias"])


def _split_heads(x: Float[Tensor, "images tokens inner"]) -> Float[Tensor, "images heads tokens head"]:
    return x.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)


def _feed_forward(
    weights: Weights, name: str, x: Float[Tensor, "images tokens dim"]
) -> Float[Tensor, "images tokens dim"]:
    hidden = F.gelu(F.linear(_layer_norm(weights, f"{name}.0", x), weights[f"{name}.1.weight"]))
    return F.linear(hidden, weights[f"{name}.3.weight"])


def embed_timestep(weights: Weights, timestep: float) -> Float[Tensor, "1 time"]:
    """Embed a timestep in 0..1000 by sinusoids and a two-layer perceptron, as diffusers' `TimestepEmbedding`."""
    first = weights["time_embedding.linear_1.weight"]
    sinusoids = get_timestep_embedding(
        torch.tensor([timestep], device=first.device), first.shape[1], flip_sin_to_cos=True, downscale_freq_shift=0
    )
    hidden = F.silu(F.linear(sinusoids.to(first.dtype), first, weights["time_embedding.linear_1.bias"]))
    return F.linear(hidden, weights["time_embedding.linear_2.weight"], weights["time_embedding.linear_2.bias"])


def timed_tokens(
    weights: Weights, features: Float[Tensor, "images patches dim"], embedded: Float[Tensor, "1 time"]
) -> Float[Tensor, "images tokens cross_dim"]:
    """Apply the resampler of SD3.5's adapters, whose layers the timestep shifts and scales.

    It equals diffusers' `IPAdapterTimeImageProjection` (huggingface.co/InstantX/SD3.5-Large-IP-Adapter).

    Args:
        weights: The projection's weights by the names of the file.
        features: Patch features.
        embedded: As `embed_timestep` returns it.
    """
    patches = F.linear(features, weights["proj_in.weight"], weights["proj_in.bias"]) + embedded[:, None]
    latents = weights["latents"].expand(len(features), -1, -1)
    depth = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
    for layer in range(depth):
        name = f"layers.{layer}"
        changed = F.linear(F.silu(embedded), weights[f"{name}.2.1.weight"], weights[f"{name}.2.1.bias"])
        shift, scale, shift_inner, scale_inner = changed[:, None].chunk(4, dim=-1)
        own = _layer_norm(weights, f"{name}.0.norm2", latents) * (1 + scale) + shift
        inputs = torch.cat([_layer_norm(weights, f"{name}.0.norm1", patches), own], dim=1)
        latents = latents + _attend(weights, f"{name}.0", own, inputs)
        inner = _layer_norm(weights, f"{name}.1.0", latents) * (1 + scale_inner) + shift_inner
        hidden = F.gelu(F.linear(inner, weights[f"{name}.1.1.weight"]))
        latents = latents + F.linear(hidden, weights[f"{name}.1.3.weight"])
    tokens = F.linear(latents, weights["proj_out.weight"], weights["proj_out.bias"])
    return _layer_norm(weights, "norm_out", tokens)
