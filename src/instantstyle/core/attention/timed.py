"""Keys and values of styles that change with the timestep, as those of InstantX's adapter for SD3.5."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..bound_style import find_timestep
from ..denoising_state import DenoisingState
from ..image_projection import embed_timestep, timed_tokens
from .decoupled import DecoupledAttention, StyleKeyValues, repeat_for_batch
from .interface import Heads, LayerInputs, norm_heads
from .weight import Weight

RMS_EPSILON = LAYER_EPSILON = 1e-6
"""Added to mean squares and variances, as diffusers' `SD3IPAdapterJointAttnProcessor2_0` does."""

LayerWeights = Mapping[str, Tensor]
Norms = tuple[Float[Tensor, "*rows head"], Float[Tensor, "*rows head"]]
"""Weights of an adapter's norms of the image's queries and keys: one of each for all rows of a batch, [head], or those
of each style where styles are of several adapters, [2 prompts 1 head], in the rows of `StyleKeyValues.key`."""

KeyAndValue = tuple[Float[Tensor, "2 prompts tokens width"], Float[Tensor, "2 prompts tokens width"]]


class TimedTokens:
    """The image tokens of the styles of a call at one timestep after another, shared by all layers.

    Args:
        weights: The projection's weights.
        features: Patch features of the references: row 0 for the unconditional parts of a batch, row 1 for the others.
    """

    def __init__(self, weights: LayerWeights, features: Float[Tensor, "2 prompts references patches dim"]) -> None:
        self._weights, self._features = weights, features
        self._found: tuple[float, Tensor, Tensor] | None = None

    def to(self, x: Tensor) -> None:
        """Cast to the device and dtype of `x`; does nothing where they are."""
        if self._features.device == x.device and self._features.dtype == x.dtype:
            return
        self._weights = {name: weight.to(x) for name, weight in self._weights.items()}
        self._features, self._found = self._features.to(x), None

    @torch.no_grad()
    def at(self, timestep: float) -> tuple[Float[Tensor, "2 prompts tokens width"], Float[Tensor, "1 time"]]:
        """Return the tokens at a timestep, and its embedding; those of the last timestep are kept."""
        if self._found is None or self._found[0] != timestep:
            embedded = embed_timestep(self._weights, timestep)
            tokens = timed_tokens(self._weights, self._features.flatten(0, 2), embedded)
            tokens = tokens.unflatten(0, self._features.shape[:3]).flatten(2, 3)
            self._found = timestep, tokens, embedded
        return self._found[1:]


@dataclass(frozen=True, eq=False)
class TimedKeyValues:
    """What the keys and values of styles in one layer are computed from at each step."""

    tokens: TimedTokens
    layer: LayerWeights
    """The adapter's weights in this layer, by name: `norm_ip.linear.weight`, `to_k_ip.weight`."""
    weight: Weight
    unconditional: bool = False

    def to(self, x: Tensor) -> "TimedKeyValues":
        """Cast to the device and dtype of `x`."""
        self.tokens.to(x)
        layer = {name: weight.to(x) for name, weight in self.layer.items()}
        return replace(self, layer=layer, weight=self.weight.to(x))

    def build(self) -> "TimedAttention":
        """Build what acts in the layer."""
        return TimedAttention(self)

    @property
    def norms(self) -> Norms:
        """Weights of the adapter's norms of the image's queries and keys."""
        return self.layer["norm_q.weight"], self.layer["norm_k.weight"]

    @torch.no_grad()
    def at(self, timestep: float) -> KeyAndValue:
        """Compute keys and values: tokens are normed, shifted and scaled by the timestep, and heads of keys normed."""
        tokens, embedded = self.tokens.at(timestep)
        weights = self.layer
        shift, scale = F.linear(
            F.silu(embedded), weights["norm_ip.linear.weight"], weights["norm_ip.linear.bias"]
        ).chunk(2, dim=-1)
        tokens = F.layer_norm(tokens, tokens.shape[-1:], eps=LAYER_EPSILON) * (1 + scale) + shift
        key, norm = F.linear(tokens, weights["to_k_ip.weight"]), weights["norm_ip_k.weight"]
        return norm_heads(key, len(norm), RMS_EPSILON, norm), F.linear(tokens, weights["to_v_ip.weight"])


@dataclass(frozen=True, eq=False)
class TabulatedKeyValues:
    """Keys and values of styles in one layer that were computed at the timesteps of one schedule."""

    timesteps: tuple[float, ...]
    key: Float[Tensor, "2 prompts steps_tokens width"]
    """The tokens of all timesteps, one after another."""
    value: Float[Tensor, "2 prompts steps_tokens width"]
    norms: Norms
    weight: Weight
    unconditional: bool = False

    def to(self, x: Tensor) -> "TabulatedKeyValues":
        """Cast to the device and dtype of `x`."""
        norms = self.norms[0].to(x), self.norms[1].to(x)
        return replace(self, key=self.key.to(x), value=self.value.to(x), norms=norms, weight=self.weight.to(x))

    def build(self) -> "TimedAttention":
        """Build what acts in the layer."""
        return TimedAttention(self)

    def at(self, timestep: float) -> KeyAndValue:
        """Return key and value at a timestep.

        Raises:
            StyleError: The table has none.
        """
        place = find_timestep(self.timesteps, timestep)
        tokens = self.key.shape[2] // len(self.timesteps)
        part = slice(place * tokens, (place + 1) * tokens)
        return self.key[:, :, part], self.value[:, :, part]


class TimedAttention(DecoupledAttention):
    """Attends to the image's own keys and values and to a style's, with norms of its own.

    The result, times the weight, is added to that of the joint attention (diffusers'
    `SD3IPAdapterJointAttnProcessor2_0`, huggingface.co/InstantX/SD3.5-Large-IP-Adapter).
    """

    def __init__(self, settings: TimedKeyValues | TabulatedKeyValues) -> None:
        nothing = torch.zeros(2, 1, 0, 0)
        super().__init__(StyleKeyValues(nothing, nothing, settings.weight, unconditional=settings.unconditional))
        self.settings = settings

    def prepare_step(self, state: DenoisingState) -> None:
        """Compute keys, values and the weight of the current step.

        Raises:
            StyleError: The step is not known, or the style has a mask and the batch holds parts of an image.
        """
        super().prepare_step(state)
        acts = self._is_active and self.style.weight.factor(state) != 0
        # A table costs nothing to read, and refuses timesteps that it lacks at every step.
        if state.timestep is not None and (acts or isinstance(self.settings, TabulatedKeyValues)):
            key, value = self.settings.at(state.timestep)
            self.style, self._key_value = replace(self.style, key=key, value=value), None

    def add_to(self, result: Heads, query: Heads, key: Heads, value: Heads, layer: LayerInputs) -> Heads:
        """Add the style's part to the attention's result.

        Args:
            result: Result of the joint attention for the image.
            query: Queries of the image before the model's own norm.
            key: Its keys before that norm.
            value: Its values.
            layer: The layer.
        """
        style = self.key_value_weight(layer)
        if style is None:
            return result
        style_key, style_value, weight = style
        query_norm, key_norm = self.settings.norms
        query, key = _norm(query, query_norm, layer), _norm(key, key_norm, layer)
        keys, values = torch.cat([key, style_key], dim=-2), torch.cat([value, style_value], dim=-2)
        return result + (weight * F.scaled_dot_product_attention(query, keys, values)).to(result.dtype)


def _norm(heads: Heads, weight: Float[Tensor, "*rows head"], layer: LayerInputs) -> Heads:
    """Divide each head by its root mean square, and multiply by the weight of its row."""
    width = weight.shape[-1:]
    if weight.ndim == 1:
        return F.rms_norm(heads, width, weight, RMS_EPSILON)
    rows = repeat_for_batch(weight, len(heads), layer.state.parts)
    return F.rms_norm(heads, width, None, RMS_EPSILON) * rows[:, None]
