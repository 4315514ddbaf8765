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

from .attention.decoupled import DecoupledAttention
from .attention.interface import LayerInputs, StyledProcessor


class JointAttnProcessor(StyledProcessor[DecoupledAttention]):
    """diffusers' `FluxAttnProcessor` in a block with two streams, with styles that act on the image stream.

    As XLabs' adapters are trained (github.com/XLabs-AI/x-flux, diffusers' `FluxIPAdapterAttnProcessor`), the image's
    queries, normed and before the rotary embedding, attend to the keys and values of each style; the block adds the
    results to the image stream after its feed-forward, ungated.
    """

    # diffusers sets these on every processor of a network.
    _attention_backend: Any = None
    _parallel_config: Any = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "batch pixels width"],
        encoder_hidden_states: Float[Tensor, "batch words width"],
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> tuple[Tensor, ...]:
        """Run one joint attention, as diffusers calls it.

        Args:
            attn: The attention module, whose projections and norms are used.
            hidden_states: The image stream.
            encoder_hidden_states: The text stream.
            attention_mask: Mask over the tokens of text and image; None for no mask.
            image_rotary_emb: Rotary embedding of text and image.

        Returns:
            The attention's results for image and text, and what the styles add to the image stream; without the
            latter where none acts at this step.
        """
        query, key, value = _project(attn, hidden_states, ("to_q", "to_k", "to_v"), "to_qkv")
        text = _project(attn, encoder_hidden_states, ("add_q_proj", "add_k_proj", "add_v_proj"), "to_added_qkv")
        query, key = attn.norm_q(query), attn.norm_k(key)
        own_query = query
        query = torch.cat([attn.norm_added_q(text[0]), query], dim=1)
        key = torch.cat([attn.norm_added_k(text[1]), key], dim=1)
        value = torch.cat([text[2], value], dim=1)
        if image_rotary_emb is not None:
            query, key = (_rotate(x, image_rotary_emb) for x in (query, key))
        result = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=attention_mask,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        words = encoder_hidden_states.shape[1]
        result = result.flatten(2).to(query.dtype)
        image = attn.to_out[1](attn.to_out[0](result[:, words:].contiguous()))
        outputs = image, attn.to_add_out(result[:, :words].contiguous())
        added = self._attend_to_styles(attn, own_query, hidden_states)
        return outputs if added is None else (*outputs, added)

    def _attend_to_styles(self, attn: Any, query: Tensor, hidden_states: Tensor) -> Tensor | None:
        """Return the weighted sum of the attentions to the styles; None where none acts at this step."""
        layer = LayerInputs(attn, hidden_states, self.state)
        heads, total = query.transpose(1, 2), None
        for style in self.injections:
            result = style.attend(heads, layer)
            if result is not None:
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
