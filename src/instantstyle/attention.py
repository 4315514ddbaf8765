"""Decoupled cross-attention with keys and values that are ready before the first step."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .errors import StyleError


def styled_attention(
    query: Float[Tensor, "batch heads pixels head"],
    key: Float[Tensor, "batch heads words head"],
    value: Float[Tensor, "batch heads words head"],
    style_key: Float[Tensor, "batch heads tokens head"],
    style_value: Float[Tensor, "batch heads tokens head"],
    scale: Float[Tensor, ""] | float,
    mask: Tensor | None = None,
) -> Float[Tensor, "batch heads pixels head"]:
    """Attention(Q, K, V) + scale · Attention(Q, K', V'): arXiv 2308.06721, equation 5; one query for both."""
    text = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return text + scale * F.scaled_dot_product_attention(query, style_key, style_value)


@dataclass(frozen=True)
class StyleKeys:
    """One style, ready for one layer: row 0 answers the unconditional half of a batch, row 1 the other."""

    key: Float[Tensor, "2 tokens width"]
    value: Float[Tensor, "2 tokens width"]
    scale: Float[Tensor, ""]

    def like(self, x: Tensor) -> "StyleKeys":
        """The same where `x` is and in its dtype; but the scale stays float32, exact."""
        return replace(self, key=self.key.to(x), value=self.value.to(x), scale=self.scale.to(x.device))

    def for_batch(self, batch: int, guided: bool) -> tuple[Tensor, Tensor]:
        """Keys and values [batch tokens width]; diffusers puts the unconditional half first."""
        if not guided:
            return self.key[1:].expand(batch, -1, -1), self.value[1:].expand(batch, -1, -1)
        if batch % 2:
            raise StyleError(f"Guidance is on, but a batch of {batch} does not split into two halves.")
        return self.key.repeat_interleave(batch // 2, dim=0), self.value.repeat_interleave(batch // 2, dim=0)


class StyledAttnProcessor:
    """What diffusers' `AttnProcessor2_0` does, plus a style's own attention. Owns no weights.

    The scale is a tensor, so that a compiled network is not compiled anew when it changes.
    """

    def __init__(self, style: StyleKeys, guided: Callable[[], bool]) -> None:
        self.style = style
        self.guided = guided

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "batch ..."],
        encoder_hidden_states: Float[Tensor, "batch words cross_dim"],
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Float[Tensor, "batch ..."]:
        """`attn` is the guest's own attention module: it lends its projections, norms and settings."""
        pixels = _entered(attn, hidden_states, temb)
        query, key, value = _text_heads(attn, pixels, encoder_hidden_states)
        style_key, style_value = (split(x, attn.heads) for x in self._ready(pixels))
        mask = _mask(attn, attention_mask, encoder_hidden_states)
        seen = styled_attention(query, key, value, style_key, style_value, self.style.scale, mask)
        return _left(attn, joined(seen).to(query.dtype), hidden_states)

    def _ready(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Moved once: from the second step on, `like` hands the same tensors back."""
        self.style = self.style.like(pixels)
        return self.style.for_batch(len(pixels), self.guided())


def split(x: Float[Tensor, "batch tokens width"], heads: int) -> Float[Tensor, "batch heads tokens head"]:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def joined(x: Float[Tensor, "batch heads tokens head"]) -> Float[Tensor, "batch tokens width"]:
    return x.transpose(1, 2).flatten(2)


def _entered(attn: Any, x: Tensor, temb: Tensor | None) -> Float[Tensor, "batch pixels width"]:
    if attn.spatial_norm is not None:
        x = attn.spatial_norm(x, temb)
    if x.ndim == 4:
        x = x.flatten(2).transpose(1, 2)
    if attn.group_norm is not None:
        x = attn.group_norm(x.transpose(1, 2)).transpose(1, 2)
    return x


def _text_heads(
    attn: Any, pixels: Float[Tensor, "batch pixels width"], words: Float[Tensor, "batch words cross_dim"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of the text attention, by the guest's own projections and norms."""
    if attn.norm_cross:
        words = attn.norm_encoder_hidden_states(words)
    query = split(attn.to_q(pixels), attn.heads)
    key, value = split(attn.to_k(words), attn.heads), split(attn.to_v(words), attn.heads)
    query = query if attn.norm_q is None else attn.norm_q(query)
    return query, key if attn.norm_k is None else attn.norm_k(key), value


def _mask(attn: Any, mask: Tensor | None, words: Tensor) -> Tensor | None:
    if mask is None:
        return None
    batch, length, _ = words.shape
    prepared = attn.prepare_attention_mask(mask, length, batch)
    return prepared.view(batch, attn.heads, -1, prepared.shape[-1])


def _left(attn: Any, seen: Float[Tensor, "batch pixels width"], entered: Tensor) -> Tensor:
    """The guest's way out: projection, dropout, residual, rescaling."""
    out = attn.to_out[1](attn.to_out[0](seen))
    if entered.ndim == 4:
        out = out.transpose(1, 2).reshape(entered.shape)
    if attn.residual_connection:
        out = out + entered
    return out / attn.rescale_output_factor
