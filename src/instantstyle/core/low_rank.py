"""What a LoRA adds to the layers of a UNet while they run, with nothing merged.

A layer W x becomes W x + s · up · down · x (arXiv 2106.09685, equation 3), with a scale s for each row of the batch
and each pixel.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..loaders.lora_layers import LoraLayer
from .attention.interface import Attend, LayerInputs, split_heads
from .attention.weight import LayerWeight, Weight
from .denoising_state import DenoisingState
from .protocols import AttentionModule


class LowRankProduct:
    """The product s · up · down · x of one layer, with the factors on the device and in the dtype of x."""

    def __init__(self, layer: LoraLayer) -> None:
        self._down, self._up, self._scale = layer.down, layer.up, layer.scale

    def __call__(
        self, x: Float[Tensor, "batch tokens in"], weight: Float[Tensor, "..."]
    ) -> Float[Tensor, "batch tokens out"]:
        """Compute the product.

        Args:
            x: Input of the layer.
            weight: Weight that broadcasts over [batch 1 tokens rank]; s is the file's own scale times it.
        """
        # Cast on the first call only.
        self._down, self._up = self._down.to(x), self._up.to(x)
        narrow = F.linear(x, self._down)
        narrow = (narrow[:, None] * (weight * self._scale).to(narrow.dtype))[:, 0]
        return F.linear(narrow, self._up)


class LowRankHook:
    """Forward hook of a linear layer or 1×1 convolution, which adds the product to its output."""

    def __init__(self, layer: LoraLayer, weight: Weight, state: DenoisingState) -> None:
        """
        Args:
            layer: The factors.
            weight: How strongly they act.
            state: The state of the network's current call.
        """
        self._product, self._weight, self._state = LowRankProduct(layer), LayerWeight(weight), state

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Return the layer's output with the product added.

        Args:
            module: The layer.
            inputs: Its arguments; the first is [batch tokens width], or [batch width rows columns].
            output: Its output.

        Raises:
            StyleError: The network is not running, or the batch does not fit the call.
        """
        x = cast(Tensor, inputs[0])
        tokens = x if x.ndim == 3 else x.flatten(2).mT
        self._weight.prepare_step(self._state)
        weight = self._weight.at(LayerInputs(cast(AttentionModule, module), tokens, self._state))
        if weight is None:
            return output
        added = self._product(tokens, weight)
        return output + (added if x.ndim == 3 else added.mT.reshape(output.shape))

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Copy and pickle a hook without effect: a copy of a styled UNet is not styled."""
        return copy, (leave_output,)


def leave_output(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """Return the output of a layer unchanged."""
    return output


@contextmanager
def hook_layers(hooks: Iterable[tuple[nn.Module, LowRankHook]]) -> Generator[None]:
    """Register forward hooks for the `with` block, and remove them on exit, also on error."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True, eq=False)
class MaskedTextProjections:
    """Settings of a LoRA with a mask in the projections of the text, whose tokens have no place in the image."""

    key: LoraLayer | None
    """Factors of `to_k`; None for no change."""
    value: LoraLayer | None
    """Factors of `to_v`."""
    weight: Weight

    def to(self, x: Tensor) -> "MaskedTextProjections":
        """Move to the device of `x`; the factors follow in the first call."""
        return replace(self, weight=self.weight.to(x))

    def build(self) -> "MaskedTextAttention":
        """Build what acts in the layer."""
        return MaskedTextAttention(self)


class MaskedTextAttention:
    """Interpolates between the attention to the text as the base projects it and as the LoRA does, by the mask."""

    def __init__(self, settings: MaskedTextProjections) -> None:
        weight = settings.weight
        self._products = [None if each is None else LowRankProduct(each) for each in (settings.key, settings.value)]
        self._strength = LayerWeight(replace(weight, mask=None))
        self._place = LayerWeight(Weight(torch.ones_like(weight.scale), weight.mask))

    def prepare_step(self, state: DenoisingState) -> None:
        """Compute scale and mask of the current step.

        Raises:
            StyleError: The step is not known, or the batch holds parts of an image.
        """
        self._strength.prepare_step(state)
        self._place.prepare_step(state)

    def __call__(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, layer: LayerInputs) -> Tensor:
        """Compute the attention's result, see `AttentionInjection`."""
        base, strength, place = attend(query, key, value), self._strength.at(layer), self._place.at(layer)
        if strength is None or place is None:
            return base
        attn, text = layer.attn, cast(Tensor, layer.text)
        text = attn.norm_encoder_hidden_states(text) if attn.norm_cross else text
        changed = [
            projected if product is None else projected + split_heads(product(text, strength), attn.heads)
            for product, projected in zip(self._products, (key, value), strict=True)
        ]
        return torch.lerp(base, attend(query, *changed), place.to(base.dtype).expand_as(base))
