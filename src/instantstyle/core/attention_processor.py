"""Decoupled cross-attention whose style keys and values are computed before the first denoising step."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import StyleError
from .content_removal import cleaning_weight
from .denoising_state import DenoisingState
from .protocols import AttentionModule


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
        styles: Of each style key and value, [batch heads tokens head], and a scale that broadcasts over the
            result.
        mask: Attention mask of the text; None for no mask.

    Returns:
        The sum of the text's and the styles' attention.
    """
    result = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    for style_key, style_value, scale in styles:
        result = result + scale * F.scaled_dot_product_attention(query, style_key, style_value)
    return result


@dataclass(frozen=True)
class TokenShift:
    """What token cleaning adds to a style's keys and values at the first step; it decays over the steps."""

    key: Float[Tensor, "2 prompts tokens width"]
    value: Float[Tensor, "2 prompts tokens width"]
    rates: Float[Tensor, "2"]
    """Decay rate by row: unconditional, conditional. 0 keeps the shift constant."""

    def to(self, x: Tensor) -> "TokenShift":
        """Cast to the device and dtype of `x`; the rates stay float32."""
        return TokenShift(self.key.to(x), self.value.to(x), self.rates.to(x.device))

    def at(self, state: DenoisingState) -> tuple[Tensor, Tensor]:
        """Return what is added to key and value at the current step."""
        weight = cleaning_weight(state.progress_tensor.to(self.rates), self.rates)
        weight = weight[:, None, None, None].to(self.key)
        return weight * self.key, weight * self.value


@dataclass(frozen=True)
class StyleKeyValues:
    """Keys and values of one style, or of one style for each prompt, in one layer.

    Row 0 serves the unconditional half of a batch, row 1 the conditional half. The axis `prompts` has length 1
    where all images of a call share the style, else one entry for each prompt.
    """

    key: Float[Tensor, "2 prompts tokens width"]
    value: Float[Tensor, "2 prompts tokens width"]
    scale: Float[Tensor, ""]
    """A tensor, so that a compiled network is not compiled again when the scale changes."""
    mask: Float[Tensor, "rows columns"] | None = None
    """Weights in 0..1 over the whole image; None acts everywhere."""
    curve: Callable[[float], float] | None = None
    """Maps the progress 0..1 to a factor on the scale; None is 1 throughout."""
    shift: TokenShift | None = None
    """Present where the style uses token cleaning."""
    unconditional: bool = False
    """Whether guidance steers away from the style; without guidance it then has no effect."""

    @property
    def needs_tracking(self) -> bool:
        """Whether the current step or the latents' size is needed."""
        return self.mask is not None or self.curve is not None or self.shift is not None

    def to(self, x: Tensor) -> "StyleKeyValues":
        """Cast to the device and dtype of `x`; the scale stays float32, so that it stays exact."""
        return replace(
            self,
            key=self.key.to(x),
            value=self.value.to(x),
            scale=self.scale.to(x.device),
            mask=None if self.mask is None else self.mask.to(x.device),
            shift=None if self.shift is None else self.shift.to(x),
        )

    def at_step(self, state: DenoisingState) -> "StyleKeyValues":
        """Return the keys and values with the token shift of the current step added."""
        if self.shift is None:
            return self
        key, value = self.shift.at(state)
        return replace(self, key=self.key + key, value=self.value + value)

    def for_batch(self, batch: int, is_guided: bool) -> tuple[Tensor, Tensor]:
        """Repeat key and value for the rows of a batch.

        diffusers puts the unconditional half of a guided batch first, and the images of a prompt side by side.

        Args:
            batch: Number of rows.
            is_guided: Whether the batch has an unconditional half.

        Returns:
            Key and value, [batch tokens width]; views where each prompt has one image.

        Raises:
            StyleError: The rows do not split evenly into halves and styles.
        """
        halves = 2 if is_guided else 1
        images, rest = divmod(batch, halves * self.key.shape[1])
        if rest:
            parts = "two halves" if is_guided else f"images in {self.key.shape[1]} styles"
            raise StyleError(f"A batch of {batch} does not split into {parts}; give one style for each prompt.")
        rows = self.key[-halves:], self.value[-halves:]
        key, value = (x if images == 1 else x.repeat_interleave(images, dim=1) for x in rows)
        return key.flatten(0, 1), value.flatten(0, 1)

    def factor(self, state: DenoisingState) -> float:
        """Return the factor on the scale at the current step; 0 where the style has no effect."""
        if self.unconditional and not state.is_guided:
            return 0.0
        return 1.0 if self.curve is None else self.curve(state.progress)


class StyledAttnProcessor:
    """diffusers' `AttnProcessor2_0` with the attention of styles, if any, added. It owns no weights.

    Each instance serves one layer and caches the keys and values of text and styles, which are computed once a
    call instead of at every step.
    """

    def __init__(self, styles: Sequence[StyleKeyValues], state: DenoisingState) -> None:
        """
        Args:
            styles: The styles that act in this layer; none for plain cross-attention with cached text.
            state: The state of the running pipeline, shared by all layers.
        """
        self.styles = [StyleKeyValueCache(style) for style in styles]
        self.state = state
        self.text = TextKeyValueCache()

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
        key, value = self.text.key_value(attn, encoder_hidden_states)
        if attention_mask is not None:
            batch, words, _ = encoder_hidden_states.shape
            attention_mask = attn.prepare_attention_mask(attention_mask, words, batch)
            attention_mask = attention_mask.view(batch, attn.heads, -1, attention_mask.shape[-1])

        styles = [style.key_value_scale(attn, hidden_states, self.state) for style in self.styles]
        active = [style for style in styles if style is not None]
        result = styled_attention(query, key, value, active, attention_mask)

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


class StyleKeyValueCache:
    """Keys, values and mask of one style in one layer, kept while batch, dtype, device and size stay the same.

    Nothing is kept where a token shift is added at every step, or inside a compiled network.
    """

    def __init__(self, style: StyleKeyValues) -> None:
        self.style = style
        self._key_value: tuple[Tensor, Tensor] | None = None
        self._valid_for: tuple[int, bool, torch.dtype, torch.device] | None = None
        self._mask: Tensor | None = None
        self._mask_valid_for: tuple[tuple[int, int], torch.device] | None = None

    def key_value_scale(
        self, attn: AttentionModule, hidden_states: Tensor, state: DenoisingState
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return key, value and scale at the current step.

        Args:
            attn: The attention module, for its number of heads.
            hidden_states: Features of the pixels, [batch pixels width].
            state: The state of the running pipeline.

        Returns:
            Key and value, [batch heads tokens head], and a scale that broadcasts over
            [batch heads pixels head]; None, with nothing computed, where the scale is 0.
        """
        factor = self.style.factor(state)
        if factor == 0:
            return None
        key, value = self.key_value(attn, hidden_states, state)
        scale = self.style.scale if factor == 1 else self.style.scale * factor
        if self.style.mask is not None:
            scale = scale * self._resized_mask(self.style.mask, state.spatial_size(hidden_states.shape[1]))
        return key, value, scale

    def key_value(self, attn: AttentionModule, hidden_states: Tensor, state: DenoisingState) -> tuple[Tensor, Tensor]:
        """Return key and value, [batch heads tokens head], on the device and in the dtype of the pixels."""
        valid_for = (len(hidden_states), state.is_guided, hidden_states.dtype, hidden_states.device)
        cacheable = not torch.compiler.is_compiling() and self.style.shift is None
        if cacheable and self._key_value is not None and self._valid_for == valid_for:
            return self._key_value
        # Casts on the first call only; later calls return the same tensors unchanged.
        self.style = self.style.to(hidden_states)
        key, value = self.style.at_step(state).for_batch(len(hidden_states), state.is_guided)
        heads = split_heads(key, attn.heads), split_heads(value, attn.heads)
        if cacheable:
            self._key_value, self._valid_for = heads, valid_for
        return heads

    def _resized_mask(self, mask: Tensor, size: tuple[int, int]) -> Float[Tensor, "pixels 1"]:
        if torch.compiler.is_compiling():
            return resize_mask(mask, size)
        if self._mask is None or self._mask_valid_for != (size, mask.device):
            self._mask, self._mask_valid_for = resize_mask(mask, size), (size, mask.device)
        return self._mask


class TextKeyValueCache:
    """Keys and values of the text in one layer, kept while the network passes the identical tensor.

    Nothing is kept where gradients are needed, where a projection is more than `nn.Linear` (a LoRA's weight
    may change between steps), and inside a compiled network, whose guards would fail for every new prompt.
    """

    def __init__(self) -> None:
        self._key_value: tuple[Tensor, Tensor] | None = None
        self._valid_for: tuple[Tensor, int] | None = None

    def key_value(
        self, attn: AttentionModule, encoder_hidden_states: Float[Tensor, "batch words cross_dim"]
    ) -> tuple[Tensor, Tensor]:
        """Return key and value, [batch heads words head]."""
        cacheable = (
            not torch.compiler.is_compiling()
            and type(attn.to_k) is type(attn.to_v) is nn.Linear
            and not torch.is_grad_enabled()
            and not encoder_hidden_states.is_inference()
        )
        if cacheable and self._key_value is not None and self._valid_for is not None:
            text, version = self._valid_for
            # The version counts in-place changes of the identical tensor.
            if text is encoder_hidden_states and version == encoder_hidden_states._version:
                return self._key_value
        text = encoder_hidden_states
        if attn.norm_cross:
            text = attn.norm_encoder_hidden_states(text)
        key, value = split_heads(attn.to_k(text), attn.heads), split_heads(attn.to_v(text), attn.heads)
        if attn.norm_k is not None:
            key = attn.norm_k(key)
        if cacheable:
            self._key_value = key, value
            self._valid_for = encoder_hidden_states, encoder_hidden_states._version
        return key, value
