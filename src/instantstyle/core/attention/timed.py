"""Keys and values of styles that change with the timestep, as those of InstantX's adapter for SD3.5."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..denoising_state import DenoisingState
from ..image_projection import embed_timestep, timed_tokens
from .decoupled import DecoupledAttention, StyleKeyValues
from .interface import Heads, LayerInputs
from .weight import Weight

RMS_EPSILON = LAYER_EPSILON = 1e-6
"""Added to mean squares and variances, as diffusers' `SD3IPAdapterJointAttnProcessor2_0` does."""

LayerWeights = Mapping[str, Tensor]


class TimedTokens:
    """The image tokens of the styles of a call at one timestep after another, shared by all layers.

    Args:
        weights: The projection's weights.
        features: Patch features of the references: row 0 for the unconditional parts of a batch, row 1 for the others.
    """

    def __init__(self, weights: LayerWeights, features: Float[Tensor, "2 prompts references patches dim"]) -> None:
        self._weights, self._features = weights, features
        self._found: tuple[float, Tensor, Tensor] | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens of all references of a style."""
        return self._features.shape[2] * self._weights["latents"].shape[1]

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

    @torch.no_grad()
    def at(
        self, timestep: float
    ) -> tuple[Float[Tensor, "2 prompts tokens width"], Float[Tensor, "2 prompts tokens width"]]:
        """Compute keys and values: tokens are normed, shifted and scaled by the timestep, and heads of keys normed."""
        tokens, embedded = self.tokens.at(timestep)
        weights = self.layer
        shift, scale = F.linear(
            F.silu(embedded), weights["norm_ip.linear.weight"], weights["norm_ip.linear.bias"]
        ).chunk(2, dim=-1)
        tokens = F.layer_norm(tokens, tokens.shape[-1:], eps=LAYER_EPSILON) * (1 + scale) + shift
        key = norm_heads(F.linear(tokens, weights["to_k_ip.weight"]), weights["norm_ip_k.weight"])
        return key, F.linear(tokens, weights["to_v_ip.weight"])


def norm_heads(x: Float[Tensor, "*batch width"], weight: Float[Tensor, " head"]) -> Float[Tensor, "*batch width"]:
    """Divide each head by its root mean square, and multiply by a weight."""
    return F.rms_norm(x.unflatten(-1, (-1, len(weight))), (len(weight),), weight, RMS_EPSILON).flatten(-2)


class TimedAttention(DecoupledAttention):
    """Attends to the image's own keys and values and to a style's, with norms of its own.

    The result, times the weight, is added to that of the joint attention (diffusers'
    `SD3IPAdapterJointAttnProcessor2_0`, huggingface.co/InstantX/SD3.5-Large-IP-Adapter).
    """

    def __init__(self, settings: TimedKeyValues) -> None:
        nothing = torch.zeros(2, 1, 0, 0)
        super().__init__(StyleKeyValues(nothing, nothing, settings.weight, unconditional=settings.unconditional))
        self.settings = settings

    def prepare_step(self, state: DenoisingState) -> None:
        """Compute keys, values and the weight of the current step.

        Raises:
            StyleError: The step is not known, or the style has a mask and the batch holds parts of an image.
        """
        super().prepare_step(state)
        if state.timestep is not None:
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
        weights, width = self.settings.layer, (query.shape[-1],)
        query = F.rms_norm(query, width, weights["norm_q.weight"], RMS_EPSILON)
        key = F.rms_norm(key, width, weights["norm_k.weight"], RMS_EPSILON)
        keys, values = torch.cat([key, style_key], dim=-2), torch.cat([value, style_value], dim=-2)
        return result + (weight * F.scaled_dot_product_attention(query, keys, values)).to(result.dtype)
