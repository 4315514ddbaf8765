"""diffusers' attention processor with injections: the keys and values of styles, and other methods."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .attention.decoupled import DecoupledAttention
from .attention.interface import AttentionInjection, LayerInputs, StyledProcessor, add_injections, split_heads
from .attention.text_key_values import TextKeyValueCache
from .denoising_state import DenoisingState
from .protocols import AttentionModule


class StyledAttnProcessor(StyledProcessor[AttentionInjection]):
    """diffusers' `AttnProcessor2_0` with injections around its attention, if any. It owns no weights.

    Each instance serves one layer and caches the keys and values of the text, which are computed once a call instead
    of at every step.
    """

    def __init__(self, injections: Sequence[AttentionInjection], state: DenoisingState, layer: str = "") -> None:
        """
        Args:
            injections: What acts in this layer; none for plain attention with cached text.
            state: The state of the network's current call, shared by all layers.
            layer: Name of the layer in records of attention.
        """
        super().__init__(injections, state)
        self.layer, self.text = layer, TextKeyValueCache()

    def __call__(
        self,
        attn: AttentionModule,
        hidden_states: Float[Tensor, "batch ..."],
        encoder_hidden_states: Float[Tensor, "batch words cross_dim"] | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Float[Tensor, "batch ..."]:
        """Run one attention layer, as diffusers calls it.

        Args:
            attn: The attention module, whose projections, norms and settings are used.
            hidden_states: Features of the pixels, [batch pixels width] or [batch width rows columns].
            encoder_hidden_states: Embeddings of the text; None for self-attention.
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
        key, value = self.text.key_value(attn, hidden_states, encoder_hidden_states, self.state.keeps_text)
        if attention_mask is not None:
            batch, words = len(key), key.shape[2]
            attention_mask = attn.prepare_attention_mask(attention_mask, words, batch)
            attention_mask = attention_mask.view(batch, attn.heads, -1, attention_mask.shape[-1])

        def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
            mask = attention_mask if bias is None or attention_mask is None else attention_mask + bias
            return F.scaled_dot_product_attention(query, key, value, attn_mask=bias if mask is None else mask)

        layer = LayerInputs(attn, hidden_states, self.state, encoder_hidden_states)
        result = add_injections(self.injections, attend, layer)(query, key, value)
        if self.state.maps is not None:
            self._record(query, (key, value), attention_mask, layer)

        result = result.transpose(1, 2).flatten(2).to(query.dtype)
        result = attn.to_out[1](attn.to_out[0](result))
        if residual.ndim == 4:
            result = result.transpose(1, 2).reshape(residual.shape)
        if attn.residual_connection:
            result = result + residual
        # The factor is nearly always 1, and dividing by it would read and write all numbers once more.
        return result if attn.rescale_output_factor == 1 else result / attn.rescale_output_factor

    def _record(self, query: Tensor, text: tuple[Tensor, Tensor], mask: Tensor | None, layer: LayerInputs) -> None:
        """Record the attention to the text and to each style."""
        assert self.state.maps is not None
        styles = [each.key_value_weight(layer) for each in self.injections if isinstance(each, DecoupledAttention)]
        self.state.maps.record(self.layer, query, text, styles, mask, self.state)
