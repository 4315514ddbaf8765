"""Decoupled cross-attention with keys and values that are ready before the first step."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import StyleError
from .cleaning import damping
from .denoising_state import DenoisingState


def styled_attention(
    query: Float[Tensor, "batch heads pixels head"],
    key: Float[Tensor, "batch heads words head"],
    value: Float[Tensor, "batch heads words head"],
    styles: Iterable[tuple[Tensor, Tensor, Tensor]],
    mask: Tensor | None = None,
) -> Float[Tensor, "batch heads pixels head"]:
    """Attention(Q, K, V) + Σ scale · Attention(Q, K', V'): arXiv 2308.06721, equation 5; one query for all.

    `styles` hold keys and values [batch heads tokens head] and a scale that broadcasts over the outcome.
    """
    seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    for style_key, style_value, scale in styles:
        seen = seen + scale * F.scaled_dot_product_attention(query, style_key, style_value)
    return seen


@dataclass(frozen=True)
class TokenShift:
    """What is added to a style's keys and values at the first step, and fades over the steps."""

    key: Float[Tensor, "2 pictures tokens width"]
    value: Float[Tensor, "2 pictures tokens width"]
    rates: Float[Tensor, "2"]
    """How fast, by row: 0 stays."""

    def to(self, x: Tensor) -> "TokenShift":
        """The same where `x` is and in its dtype; but the rates stay float32."""
        return TokenShift(self.key.to(x), self.value.to(x), self.rates.to(x.device))

    def at(self, moment: DenoisingState) -> tuple[Tensor, Tensor]:
        """What is added now."""
        left = damping(moment.progress_tensor.to(self.rates), self.rates)[:, None, None, None].to(self.key)
        return left * self.key, left * self.value


@dataclass(frozen=True)
class StyleKeyValues:
    """One style, ready for one layer: row 0 answers the unconditional half of a batch, row 1 the other.

    `pictures` is 1 where all pictures of a call share the style, else one for each prompt.
    """

    key: Float[Tensor, "2 pictures tokens width"]
    value: Float[Tensor, "2 pictures tokens width"]
    scale: Float[Tensor, ""]
    mask: Float[Tensor, "rows columns"] | None = None
    """Where it acts: 1 fully, 0 not at all; None everywhere."""
    curve: Callable[[float], float] | None = None
    """Share of the drawing done, 0..1 → factor on the scale; None is 1 throughout."""
    shift: TokenShift | None = None
    """Of a style that is cleaned."""
    unconditional: bool = False
    """Whether guidance draws away from it: without guidance it does nothing."""

    @property
    def needs_watching(self) -> bool:
        """Whether it asks for the step or the size of what is drawn."""
        return any(part is not None for part in (self.mask, self.curve, self.shift))

    def to(self, x: Tensor) -> "StyleKeyValues":
        """The same where `x` is and in its dtype; but the scale stays float32, exact."""
        return replace(
            self,
            key=self.key.to(x),
            value=self.value.to(x),
            scale=self.scale.to(x.device),
            mask=None if self.mask is None else self.mask.to(x.device),
            shift=None if self.shift is None else self.shift.to(x),
        )

    def now(self, moment: DenoisingState) -> "StyleKeyValues":
        """With what is added to it at this step."""
        if self.shift is None:
            return self
        key, value = self.shift.at(moment)
        return replace(self, key=self.key + key, value=self.value + value)

    def for_batch(self, batch: int, guided: bool) -> tuple[Tensor, Tensor]:
        """Keys and values [batch tokens width]; diffusers puts the unconditional half first."""
        halves = 2 if guided else 1
        images, odd = divmod(batch, halves * self.key.shape[1])
        if odd:
            what = "two halves" if guided else f"pictures in {self.key.shape[1]} styles"
            raise StyleError(f"A batch of {batch} does not split into {what}; give one style a prompt.")
        return _spread(self.key[-halves:], images), _spread(self.value[-halves:], images)

    def factor(self, moment: DenoisingState) -> float:
        """On the scale, now; 0 where the style does nothing at all."""
        if self.unconditional and not moment.is_guided:
            return 0.0
        return 1.0 if self.curve is None else self.curve(moment.progress)


def _spread(rows: Float[Tensor, "halves pictures tokens width"], images: int) -> Tensor:
    """Each prompt's images lie side by side in a batch; of one image nothing is copied."""
    return (rows if images == 1 else rows.repeat_interleave(images, dim=1)).flatten(0, 1)


def _shrunk(mask: Float[Tensor, "rows columns"], size: tuple[int, int]) -> Float[Tensor, "height width"]:
    """Each pixel gets the mean of what it covers, so that no thin part of a mask falls between pixels."""
    return F.adaptive_avg_pool2d(mask[None], size)[0]


class StyledAttnProcessor:
    """What diffusers' `AttnProcessor2_0` does, plus the attention of styles, if any. Owns no weights.

    Serves one layer, whose keys and values of text and style it makes once a call and not at every step. A
    scale is a tensor, so that a compiled network is not compiled anew when it changes.
    """

    def __init__(self, styles: Sequence[StyleKeyValues], moment: DenoisingState) -> None:
        self.styles = [StyleKeyValueCache(style) for style in styles]
        self.moment = moment
        self._words = TextKeyValueCache()

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
        query = _query(attn, pixels)
        key, value = self._words.heads(attn, encoder_hidden_states)
        mask = _mask(attn, attention_mask, encoder_hidden_states)
        seen = styled_attention(query, key, value, self._acting(attn, pixels), mask)
        return _left(attn, merge_heads(seen).to(query.dtype), hidden_states)

    def _acting(self, attn: Any, pixels: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        acting = [style.acting(attn, pixels, self.moment) for style in self.styles]
        return [each for each in acting if each is not None]


def split_heads(
    x: Float[Tensor, "batch tokens width"], heads: int
) -> Float[Tensor, "batch heads tokens head"]:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Float[Tensor, "batch heads tokens head"]) -> Float[Tensor, "batch tokens width"]:
    return x.transpose(1, 2).flatten(2)


def _entered(attn: Any, x: Tensor, temb: Tensor | None) -> Float[Tensor, "batch pixels width"]:
    if attn.spatial_norm is not None:
        x = attn.spatial_norm(x, temb)
    if x.ndim == 4:
        x = x.flatten(2).transpose(1, 2)
    if attn.group_norm is not None:
        x = attn.group_norm(x.transpose(1, 2)).transpose(1, 2)
    return x


def _query(
    attn: Any, pixels: Float[Tensor, "batch pixels width"]
) -> Float[Tensor, "batch heads pixels head"]:
    """By the guest's own projection and norm."""
    query = split_heads(attn.to_q(pixels), attn.heads)
    return query if attn.norm_q is None else attn.norm_q(query)


def _word_heads(attn: Any, words: Float[Tensor, "batch words cross_dim"]) -> tuple[Tensor, Tensor]:
    """Key and value of the text, by the guest's own projections and norms."""
    if attn.norm_cross:
        words = attn.norm_encoder_hidden_states(words)
    key, value = split_heads(attn.to_k(words), attn.heads), split_heads(attn.to_v(words), attn.heads)
    return key if attn.norm_k is None else attn.norm_k(key), value


class StyleKeyValueCache:
    """One layer's keys and values of a style, kept for as long as batches of the same kind ask for them; and
    its mask, for as long as pictures are of one size.

    Not kept: where something is added to them at every step, and inside a compiled network.
    """

    def __init__(self, keys: StyleKeyValues) -> None:
        self.keys = keys
        self._of: tuple[Any, ...] | None = None
        self._heads: tuple[Tensor, Tensor] | None = None
        self._laid_on: tuple[Any, ...] | None = None
        self._laid: Tensor | None = None

    def acting(
        self, attn: Any, pixels: Tensor, moment: DenoisingState
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Key, value, and the scale here and now, broadcasting over [batch heads pixels head]; None, and
        nothing is made, where it is 0.
        """
        factor = self.keys.factor(moment)
        if factor == 0:
            return None
        key, value = self.heads(attn, pixels, moment)
        scale = self.keys.scale if factor == 1 else self.keys.scale * factor
        if self.keys.mask is not None:
            scale = scale * self._area(self.keys.mask, moment.spatial_size(pixels.shape[1]))
        return key, value, scale

    def _area(self, mask: Tensor, size: tuple[int, int]) -> Float[Tensor, "pixels 1"]:
        """The mask, laid over the layer's pixels."""
        if torch.compiler.is_compiling():
            return _shrunk(mask, size).flatten()[:, None]
        if self._laid is None or self._laid_on != (size, mask.device):
            self._laid_on, self._laid = (size, mask.device), _shrunk(mask, size).flatten()[:, None]
        return self._laid

    def heads(self, attn: Any, pixels: Tensor, moment: DenoisingState) -> tuple[Tensor, Tensor]:
        """Key and value, [batch heads tokens head], where the pixels are and in their dtype."""
        if torch.compiler.is_compiling() or self.keys.shift is not None:
            return self._made(attn, pixels, moment)
        kind = (len(pixels), moment.is_guided, pixels.dtype, pixels.device)
        if self._heads is None or self._of != kind:
            self._of, self._heads = kind, self._made(attn, pixels, moment)
        return self._heads

    def _made(self, attn: Any, pixels: Tensor, moment: DenoisingState) -> tuple[Tensor, Tensor]:
        """Moved once: from the second time on, `like` hands the same tensors back."""
        self.keys = self.keys.to(pixels)
        key, value = self.keys.now(moment).for_batch(len(pixels), moment.is_guided)
        return split_heads(key, attn.heads), split_heads(value, attn.heads)


class TextKeyValueCache:
    """One layer's keys and values of the text, kept for as long as the text is the very same tensor.

    The network hands the same one down at every step. Not kept: where gradients are wanted, where a layer is
    more than a plain projection (a LoRA's strength may change midway), and inside a compiled network, whose
    guards would see another tensor with every prompt.
    """

    def __init__(self) -> None:
        self._of: tuple[Tensor, int] | None = None
        self._heads: tuple[Tensor, Tensor] | None = None

    def heads(self, attn: Any, words: Float[Tensor, "batch words cross_dim"]) -> tuple[Tensor, Tensor]:
        """Key and value, [batch heads words head]."""
        if torch.compiler.is_compiling() or not _keepable(attn, words):
            return _word_heads(attn, words)
        if self._heads is None or self._of is None or not _same(self._of, words):
            self._of, self._heads = (words, words._version), _word_heads(attn, words)
        return self._heads


def _same(kept: tuple[Tensor, int], words: Tensor) -> bool:
    """Neither another tensor nor the same one written to."""
    return kept[0] is words and kept[1] == words._version


def _keepable(attn: Any, words: Tensor) -> bool:
    plain = type(attn.to_k) is type(attn.to_v) is nn.Linear
    return plain and not torch.is_grad_enabled() and not words.is_inference()


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
    # Nearly always 1, and a division by it a walk through all of the numbers.
    return out if attn.rescale_output_factor == 1 else out / attn.rescale_output_factor
