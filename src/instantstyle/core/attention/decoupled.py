"""Decoupled cross-attention: text and style share one query, and each has keys and values of its own."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...errors import StyleError
from ...recipe_types import Fuse
from ...unet.blocks import Placement
from ..denoising_state import DenoisingState
from ..protocols import AttentionModule
from ..row_layout import GUIDED, UNGUIDED, RowLayout
from .interface import Attend, Heads, LayerInputs, split_heads
from .key_value_shift import KeyValueShift, TailDecay, TokenShift
from .weight import LayerWeight, Weight


def add_attention(text: Heads, style: Heads, weight: Tensor) -> Heads:
    """Compute text + weight · style, IP-Adapter's equation 5 (arXiv 2308.06721)."""
    return text + weight * style


def fuse_by_adain(text: Heads, style: Heads, weight: Tensor) -> Heads:
    """Give the text's result the style's mean and deviation over the pixels (StyleStudio, arXiv 2412.08503).

    (text − mean text) / std text · std style + mean style, for each row and channel, with the unbiased deviation. A
    weight of 0 leaves the text's result, and weights between interpolate linearly; the style's own result is not
    added.

    Args:
        text: Result of the text's attention.
        style: Result of the style's.
        weight: Weight of the style, which broadcasts over both.

    Returns:
        The text's result with the style's statistics.
    """
    text_std, text_mean = torch.std_mean(text, dim=-2, keepdim=True)
    style_std, style_mean = torch.std_mean(style, dim=-2, keepdim=True)
    normed = (text - text_mean) / text_std.clamp(min=torch.finfo(text.dtype).tiny)
    return torch.lerp(text, normed * style_std + style_mean, weight.to(text.dtype).expand_as(text))


FUSE = {"add": add_attention, "adain": fuse_by_adain}
"""How the result of a style is joined to that of the text."""


@dataclass(frozen=True)
class StyleKeyValues:
    """Keys and values of one style, or of one style for each prompt, in one layer.

    Row 0 serves the unconditional parts of a batch, row 1 the conditional parts. The axis `prompts` has length 1
    where all images of a call share the style, else one entry for each prompt.
    """

    key: Float[Tensor, "2 prompts tokens width"]
    value: Float[Tensor, "2 prompts tokens width"]
    weight: Weight
    shift: TokenShift | TailDecay | None = None
    """What changes with the steps; present where the style uses `clean` or `cleanstyle`."""
    unconditional: bool = False
    """Whether guidance steers away from the style; without guidance it then has no effect."""
    fuse: Fuse = "add"
    """How the style's result is joined to the text's."""
    placement: Placement = "attention"
    """Where the style's result is added in a diffusion transformer."""

    def to(self, x: Tensor) -> "StyleKeyValues":
        """Cast to the device and dtype of `x`; the scale stays float32, so that it stays exact."""
        shift = None if self.shift is None else self.shift.to(x)
        return replace(self, key=self.key.to(x), value=self.value.to(x), weight=self.weight.to(x), shift=shift)

    def build(self) -> "DecoupledAttention":
        """Build what acts in the layer."""
        return DecoupledAttention(self)

    def for_batch(
        self, batch: int, layout: RowLayout, shift: KeyValueShift | None = None
    ) -> tuple[Float[Tensor, "batch tokens width"], Float[Tensor, "batch tokens width"]]:
        """Repeat key and value for the rows of a batch.

        diffusers puts the images of a prompt side by side within each part of a batch.

        Args:
            batch: Number of rows.
            layout: The parts of the batch.
            shift: What is added at the current step; None for nothing.

        Returns:
            Key and value; views where the batch is guided and each prompt has one image.

        Raises:
            StyleError: The rows do not split evenly into parts and styles.
        """
        pair = self.key, self.value
        if shift is not None:
            pair = self.key + shift[0], self.value + shift[1]
        return repeat_for_batch(pair[0], batch, layout), repeat_for_batch(pair[1], batch, layout)


def repeat_for_batch(
    x: Float[Tensor, "2 prompts tokens width"], batch: int, layout: RowLayout
) -> Float[Tensor, "batch tokens width"]:
    """Repeat what styles have for the unconditional and the conditional half for the rows of a batch.

    Args:
        x: Row 0 serves the unconditional parts, row 1 the conditional ones; one entry for all prompts, or for each.
        batch: Number of rows.
        layout: The parts of the batch.

    Returns:
        A view where the batch is guided and each prompt has one image.

    Raises:
        StyleError: The rows do not split evenly into parts and styles.
    """
    prompts = x.shape[1]
    images, rest = divmod(batch, len(layout) * prompts)
    if rest:
        raise StyleError(
            f"A batch of {batch} rows does not split into {len(layout)} parts ({', '.join(layout)}) with "
            f"{prompts} style{'s' * (prompts > 1)} each; give one style for each prompt."
        )
    rows = _select_rows(x, layout)
    return (rows if images == 1 else rows.repeat_interleave(images, dim=1)).flatten(0, 1)


def _select_rows(x: Float[Tensor, "2 prompts tokens width"], layout: RowLayout) -> Float[Tensor, "parts ..."]:
    if layout == GUIDED:
        return x
    if layout == UNGUIDED:
        return x[1:]
    return torch.stack([x[GUIDED.index(part)] for part in layout])


class DecoupledAttention:
    """Joins the attention to the keys and values of one style to that of the text.

    Keys, values and mask are kept while batch, dtype, device and size stay the same; not where a token shift is added
    at every step, or inside a compiled network.
    """

    def __init__(self, style: StyleKeyValues) -> None:
        self.style, self.weight = style, LayerWeight(style.weight)
        self._is_active = True
        self._shift: KeyValueShift | None = None
        self._key_value: tuple[Tensor, Tensor] | None = None
        self._valid_for: tuple[int, RowLayout, torch.dtype, torch.device] | None = None

    def prepare_step(self, state: DenoisingState) -> None:
        """Compute weight and token shift of the current step.

        Raises:
            StyleError: The step is not known, or the style has a mask and the batch holds parts of an image.
        """
        self._is_active = not self.style.unconditional or "unconditional" in state.parts
        if not self._is_active:
            return
        self.weight.prepare_step(state)
        if self.style.shift is not None:
            self._shift = self.style.shift.at(state)

    def __call__(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, layer: LayerInputs) -> Tensor:
        """Compute the attention's result, see `AttentionInjection`."""
        text, style = attend(query, key, value), self.key_value_weight(layer)
        if style is None:
            return text
        style_key, style_value, weight = style
        attended = F.scaled_dot_product_attention(query, style_key, style_value)
        return FUSE[self.style.fuse](text, attended, weight)

    def attend(self, query: Tensor, layer: LayerInputs) -> Tensor | None:
        """Compute weight · softmax(Q K_styleᵀ/√d) V_style alone; None where the style has no effect at this step.

        Args:
            query: [batch heads pixels head].
            layer: The layer.
        """
        style = self.key_value_weight(layer)
        return None if style is None else style[2] * F.scaled_dot_product_attention(query, style[0], style[1])

    def key_value_weight(self, layer: LayerInputs) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return key, value and weight at the current step.

        Returns:
            Key and value, [batch heads tokens head], and a weight that broadcasts over [batch heads pixels head];
            None, with nothing computed, where the style has no effect at this step.

        Raises:
            StyleError: The network is not running, or the batch does not fit the call, its parts or its styles.
        """
        parts = layer.state.parts
        if not self._is_active or (weight := self.weight.at(layer)) is None:
            return None
        return *self.key_value(layer.attn, layer.hidden_states, parts), weight

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
