"""diffusers' attention processor of FLUX.1 with the keys and values of styles beside text and image."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from typing import Any, cast

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from jaxtyping import Float
from torch import Tensor

from ..unet.blocks import Placement
from .attention.decoupled import DecoupledAttention
from .attention.interface import LayerInputs, StyledProcessor
from .attention.token_weight import TokenBias


class JointAttnProcessor(StyledProcessor[DecoupledAttention | TokenBias]):
    """diffusers' `FluxAttnProcessor`, with styles that act on the image stream, or on the one stream of a block.

    The queries, normed and before the rotary embedding, attend to the keys and values of each style. Where the results
    are added depends on the adapter (`StyleKeyValues.placement`): XLabs' (github.com/XLabs-AI/x-flux, diffusers'
    `FluxIPAdapterAttnProcessor`) add to the image stream after the block's feed-forward, ungated; InstantX's
    (huggingface.co/InstantX/FLUX.1-dev-IP-Adapter) add to the attention's result, before its projection and gate, of
    the image in blocks with two streams, and of text and image in those with one.
    """

    # diffusers sets these on every processor of a network.
    _attention_backend: Any = None
    _parallel_config: Any = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "batch tokens width"],
        encoder_hidden_states: Float[Tensor, "batch words width"] | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Run one joint attention, as diffusers calls it.

        Args:
            attn: The attention module, whose projections and norms are used.
            hidden_states: The image stream; in a block with one stream, text and image.
            encoder_hidden_states: The text stream; None in a block with one stream.
            attention_mask: Mask over the tokens of text and image; None for no mask.
            image_rotary_emb: Rotary embedding of text and image.

        Returns:
            In a block with one stream the attention's result. Otherwise its results for image and text, and what the
            styles add to the image stream; without the latter where none does at this step.
        """
        query, key, value = _project(attn, hidden_states, ("to_q", "to_k", "to_v"), "to_qkv")
        query, key = attn.norm_q(query), attn.norm_k(key)
        own_query, words = query, 0
        if encoder_hidden_states is not None:
            words = encoder_hidden_states.shape[1]
            text = _project(attn, encoder_hidden_states, ("add_q_proj", "add_k_proj", "add_v_proj"), "to_added_qkv")
            query = torch.cat([attn.norm_added_q(text[0]), query], dim=1)
            key = torch.cat([attn.norm_added_k(text[1]), key], dim=1)
            value = torch.cat([text[2], value], dim=1)
        if image_rotary_emb is not None:
            query, key = (_rotate(x, image_rotary_emb) for x in (query, key))
        result = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=self._add_biases(attn, query, attention_mask),
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        result = result.flatten(2).to(query.dtype)
        own = result[:, words:]
        layer = LayerInputs(attn, hidden_states, self.state, is_one_stream=encoder_hidden_states is None)
        added = self._attend_to_styles(own_query, layer, "attention")
        own = own if added is None else own + added
        if encoder_hidden_states is None:
            return own
        image = attn.to_out[1](attn.to_out[0](own.contiguous()))
        outputs = image, attn.to_add_out(result[:, :words].contiguous())
        after = self._attend_to_styles(own_query, layer, "stream")
        return outputs if after is None else (*outputs, after)

    def _add_biases(self, attn: Any, query: Tensor, mask: Tensor | None) -> Tensor | None:
        """Return the mask with the biases of tokens that references add; there is no other mask beside these."""
        tokens = [each for each in self.injections if isinstance(each, TokenBias)]
        if not tokens:
            return mask
        layer = LayerInputs(attn, query.flatten(2), self.state, is_one_stream=True)
        biases = [bias for each in tokens if (bias := each.at(layer)) is not None]
        return sum(biases[1:], biases[0]) if biases else mask

    def _attend_to_styles(self, query: Tensor, layer: LayerInputs, placement: Placement) -> Tensor | None:
        """Return the weighted sum of the attentions to the styles of a placement; None where none acts now."""
        heads, total = query.transpose(1, 2), None
        for style in self.injections:
            if isinstance(style, TokenBias) or style.style.placement != placement:
                continue
            if (result := style.attend(heads, layer)) is not None:
                total = result if total is None else total + result
        return None if total is None else total.transpose(1, 2).flatten(2).to(query.dtype)


def _rotate(x: Tensor, embedding: Any) -> Tensor:
    return cast(Tensor, apply_rotary_emb(x, embedding, sequence_dim=1))


def _project(attn: Any, x: Tensor, names: Sequence[str], fused: str) -> list[Tensor]:
    """Compute query, key and value of one stream, [batch tokens heads head], also with fused projections."""
    if attn.fused_projections:
        parts = getattr(attn, fused)(x).chunk(3, dim=-1)
    else:
        parts = [getattr(attn, name)(x) for name in names]
    return [part.unflatten(-1, (-1, attn.head_dim)) for part in parts]
