"""Decoupled cross-attention whose style keys and values are computed before the first denoising step."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any, SupportsIndex

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook  # pyright: ignore[reportPrivateUsage]

from ..errors import StyleError
from .denoising_state import DenoisingState
from .pipeline_call import ImageRegion
from .protocols import AttentionModule
from .row_layout import RowLayout
from .style_key_values import KeyValueShift, StyleKeyValues


def styled_attention(
    query: Float[Tensor, "batch heads pixels head"],
    key: Float[Tensor, "batch heads words head"],
    value: Float[Tensor, "batch heads words head"],
    styles: Iterable[tuple[Tensor, Tensor, Tensor]],
    mask: Tensor | None = None,
) -> Float[Tensor, "batch heads pixels head"]:
    """Compute Attention(Q, K, V) + Σ scale · Attention(Q, K', V'), IP-Adapter's equation 5 (arXiv 2308.06721).

    Text and styles share one query.

    Args:
        query: Query of the pixels.
        key: Key of the text.
        value: Value of the text.
        styles: Key and value of each style, [batch heads tokens head], and a scale that broadcasts over the
            result.
        mask: Attention mask of the text; None for no mask.

    Returns:
        The sum of the text's and the styles' attention.
    """
    result = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    for style_key, style_value, scale in styles:
        result = result + scale * F.scaled_dot_product_attention(query, style_key, style_value)
    return result


class StyledAttnProcessor:
    """diffusers' `AttnProcessor2_0` with the attention of styles, if any, added. It owns no weights.

    Each instance serves one layer and caches the keys and values of text and styles, which are computed once a
    call instead of at every step.
    """

    def __init__(self, styles: Sequence[StyleKeyValues], state: DenoisingState, layer: str = "") -> None:
        """
        Args:
            styles: The styles that act in this layer; none for plain cross-attention with cached text.
            state: The state of the UNet's current call, shared by all layers.
            layer: Name of the layer in records of attention.
        """
        self.styles = [StyleKeyValueCache(style) for style in styles]
        self.state, self.layer = state, layer
        self.text = TextKeyValueCache()
        self.original: object = None
        """The processor in whose place it is installed; None before."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Copy and pickle the original processor: a copy of a styled UNet is not styled."""
        return super().__reduce_ex__(protocol) if self.original is None else (copy, (self.original,))

    def prepare_step(self) -> None:
        """Compute what depends on the current step. It is called before the UNet, outside of compiled code.

        Raises:
            StyleError: A style needs the step, which is not known, or has a mask, which does not fit the batch.
        """
        for style in self.styles:
            style.prepare_step(self.state)

    def __call__(
        self,
        attn: AttentionModule,
        hidden_states: Float[Tensor, "batch ..."],
        encoder_hidden_states: Float[Tensor, "batch words cross_dim"],
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Float[Tensor, "batch ..."]:
        """Run one cross-attention layer, as diffusers calls it.

        Args:
            attn: The attention module, whose projections, norms and settings are used.
            hidden_states: Features of the pixels, [batch pixels width] or [batch width rows columns].
            encoder_hidden_states: Embeddings of the text.
            attention_mask: Mask of the text; None for no mask.
            temb: Time embedding, for a module with a spatial norm.

        Returns:
            The layer's output in the shape of `hidden_states`.
        """
        residual = hidden_states
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        if hidden_states.ndim == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)

        query = split_heads(attn.to_q(hidden_states), attn.heads)
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        key, value = self.text.key_value(attn, encoder_hidden_states, self.state.keeps_text)
        if attention_mask is not None:
            batch, words, _ = encoder_hidden_states.shape
            attention_mask = attn.prepare_attention_mask(attention_mask, words, batch)
            attention_mask = attention_mask.view(batch, attn.heads, -1, attention_mask.shape[-1])

        styles = [style.key_value_scale(attn, hidden_states, self.state) for style in self.styles]
        active = [style for style in styles if style is not None]
        result = styled_attention(query, key, value, active, attention_mask)
        if self.state.maps is not None:
            self.state.maps.record(self.layer, query, (key, value), active, attention_mask, self.state)

        result = result.transpose(1, 2).flatten(2).to(query.dtype)
        result = attn.to_out[1](attn.to_out[0](result))
        if residual.ndim == 4:
            result = result.transpose(1, 2).reshape(residual.shape)
        if attn.residual_connection:
            result = result + residual
        # The factor is nearly always 1, and dividing by it would read and write all numbers once more.
        return result if attn.rescale_output_factor == 1 else result / attn.rescale_output_factor


def split_heads(x: Float[Tensor, "batch tokens width"], heads: int) -> Float[Tensor, "batch heads tokens head"]:
    """Split the width into attention heads."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def resize_mask(mask: Float[Tensor, "rows columns"], size: tuple[int, int]) -> Float[Tensor, "pixels 1"]:
    """Average the mask over the area of each pixel of a layer, so that thin parts are not skipped."""
    return F.adaptive_avg_pool2d(mask[None], size)[0].flatten()[:, None]


def crop_mask(mask: Float[Tensor, "rows columns"], region: ImageRegion) -> Float[Tensor, "height width"]:
    """Cut the part of a mask that lies over a region of the image."""
    whole = F.adaptive_avg_pool2d(mask[None], (region.height, region.width))[0]
    return whole[max(region.top, 0) : region.bottom, max(region.left, 0) : region.right]


class StyleKeyValueCache:
    """Keys, values and mask of one style in one layer, kept while batch, dtype, device and size stay the same.

    Nothing is kept where a token shift is added at every step, or inside a compiled network.
    """

    def __init__(self, style: StyleKeyValues) -> None:
        self.style = style
        self._is_active = True
        self._scale = style.scale
        self._shift: KeyValueShift | None = None
        self._region: ImageRegion | None = None
        self._mask = style.mask
        self._key_value: tuple[Tensor, Tensor] | None = None
        self._valid_for: tuple[int, RowLayout, torch.dtype, torch.device] | None = None
        self._resized: Tensor | None = None
        self._resized_for: tuple[tuple[int, int], ImageRegion | None, torch.device] | None = None

    def prepare_step(self, state: DenoisingState) -> None:
        """Compute scale, token shift and mask of the current step: a compiled network takes them as inputs.

        Raises:
            StyleError: The step is not known, or the style has a mask and the batch holds parts of an image.
        """
        factor = self.style.factor(state)
        self._is_active = factor != 0
        self._scale = self.style.scale if factor == 1 else self.style.scale * factor
        if self.style.frames is not None:
            self._scale = self._scale * state.weigh_rows(self.style.frames).to(self._scale)
        if self.style.shift is not None:
            self._shift = self.style.shift.at(state)
        if self.style.mask is None:
            return
        if state.has_views:
            raise StyleError(
                "A mask covers the whole image, and this pipeline generates views of it, which may overlap. Leave the "
                "mask out."
            )
        if state.region != self._region:
            self._region = state.region
            self._mask = self.style.mask if state.region is None else crop_mask(self.style.mask, state.region)

    def key_value_scale(
        self, attn: AttentionModule, hidden_states: Tensor, state: DenoisingState
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return key, value and scale at the current step.

        Args:
            attn: The attention module, for its number of heads.
            hidden_states: Features of the pixels, [batch pixels width].
            state: The state of the UNet's current call.

        Returns:
            Key and value, [batch heads tokens head], and a scale that broadcasts over
            [batch heads pixels head]; None, with nothing computed, where the style has no effect at this step.

        Raises:
            StyleError: The UNet is not running, or the batch does not fit the call, its parts or its styles.
        """
        layout = state.parts
        state.check_rows(len(hidden_states))
        if not self._is_active:
            return None
        key, value = self.key_value(attn, hidden_states, layout)
        scale = self._scale.to(hidden_states.device)
        if self._mask is not None:
            scale = scale * self._resized_mask(self._mask, state.spatial_size(hidden_states.shape[1]), scale.device)
        return key, value, scale

    def key_value(self, attn: AttentionModule, hidden_states: Tensor, layout: RowLayout) -> tuple[Tensor, Tensor]:
        """Return key and value, [batch heads tokens head], on the device and in the dtype of the pixels."""
        valid_for = (len(hidden_states), layout, hidden_states.dtype, hidden_states.device)
        cacheable = not torch.compiler.is_compiling() and self.style.shift is None
        if cacheable and self._key_value is not None and self._valid_for == valid_for:
            return self._key_value
        # Casts on the first call only; later calls return the same tensors unchanged.
        self.style = self.style.to(hidden_states)
        shift = None if self._shift is None else (self._shift[0].to(hidden_states), self._shift[1].to(hidden_states))
        key, value = self.style.for_batch(len(hidden_states), layout, shift)
        heads = split_heads(key, attn.heads), split_heads(value, attn.heads)
        if cacheable:
            self._key_value, self._valid_for = heads, valid_for
        return heads

    def _resized_mask(self, mask: Tensor, size: tuple[int, int], device: torch.device) -> Float[Tensor, "pixels 1"]:
        if torch.compiler.is_compiling():
            return resize_mask(mask.to(device), size)
        if self._resized is None or self._resized_for != (size, self._region, device):
            self._resized = resize_mask(mask.to(device), size)
            self._resized_for = size, self._region, device
        return self._resized


class TextKeyValueCache:
    """Keys and values of the text in one layer, kept while the network passes the identical tensor.

    Nothing is kept where gradients are needed, where a projection is more than `nn.Linear` (a LoRA's weight
    may change between steps), has hooks or a forward of its own, and inside a compiled network, whose guards would
    fail for every new prompt. Text and weights are compared by identity, version and address: the version counts
    changes in place, but not those of `tensor.data`, so that nothing is kept either where code of the caller runs
    between the steps.
    """

    def __init__(self) -> None:
        self._key_value: tuple[Tensor, Tensor] | None = None
        self._valid_for: tuple[_Mark, ...] = ()

    def key_value(
        self, attn: AttentionModule, encoder_hidden_states: Float[Tensor, "batch words cross_dim"], keep: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return key and value, [batch heads words head].

        Args:
            attn: The attention module, for its projections and norms.
            encoder_hidden_states: Embeddings of the text.
            keep: Whether the next call may get the same key and value.
        """
        cacheable = keep and not torch.compiler.is_compiling() and _computes_the_same(attn, encoder_hidden_states)
        valid_for: tuple[_Mark, ...] = ()
        if cacheable:
            weights = (*attn.to_k.parameters(), *attn.to_v.parameters())
            valid_for = tuple(map(_Mark, (encoder_hidden_states, *weights)))
            if self._key_value is not None and self._valid_for == valid_for:
                return self._key_value
        text = encoder_hidden_states
        if attn.norm_cross:
            text = attn.norm_encoder_hidden_states(text)
        key, value = split_heads(attn.to_k(text), attn.heads), split_heads(attn.to_v(text), attn.heads)
        if attn.norm_k is not None:
            key = attn.norm_k(key)
        self._key_value, self._valid_for = ((key, value), valid_for) if cacheable else (None, ())
        return key, value


class _Mark:
    """Identity, version and address of a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.state = tensor, (tensor._version, tensor.data_ptr())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Mark) and self.tensor is other.tensor and self.state == other.state

    __hash__ = None  # pyright: ignore


def _computes_the_same(attn: AttentionModule, text: Tensor) -> bool:
    """Whether key and value depend on nothing but tensors whose changes are counted."""
    return (
        not torch.is_grad_enabled()
        and not text.is_inference()
        and not attn.norm_cross
        and attn.norm_k is None
        and not _has_any_global_hook()
        # Some tools replace the method of the class.
        and nn.Linear.forward.__module__ == "torch.nn.modules.linear"
        and all(map(_is_plain_linear, (attn.to_k, attn.to_v)))
    )


def _is_plain_linear(module: Any) -> bool:
    return (
        type(module) is nn.Linear
        and not (module._forward_hooks or module._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
        and "forward" not in vars(module)
        and vars(module).get("_compiled_call_impl") is None
        and all(type(each) is nn.Parameter and not each.is_inference() for each in module.parameters())
    )
