"""diffusers' attention processor of SD3.5 with the keys and values of styles beside those of the image."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .attention.interface import LayerInputs, StyledProcessor, split_heads
from .attention.timed import TimedAttention


class SD3AttnProcessor(StyledProcessor[TimedAttention]):
    """diffusers' `JointAttnProcessor2_0`, with styles that act on the image before its output projection."""

    needs_timestep = True

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "batch pixels width"],
        encoder_hidden_states: Float[Tensor, "batch words width"],
        attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run one joint attention, as diffusers calls it.

        Args:
            attn: The attention module, whose projections and norms are used.
            hidden_states: The image stream.
            encoder_hidden_states: The text stream.
            attention_mask: Not used, as by diffusers.

        Returns:
            The attention's results for image and text.
        """
        own = [split_heads(project(hidden_states), attn.heads) for project in (attn.to_q, attn.to_k, attn.to_v)]
        projections = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
        text = [split_heads(project(encoder_hidden_states), attn.heads) for project in projections]
        query, key = _norm(attn.norm_q, own[0]), _norm(attn.norm_k, own[1])
        text_query, text_key = _norm(attn.norm_added_q, text[0]), _norm(attn.norm_added_k, text[1])
        query, key = torch.cat([query, text_query], dim=2), torch.cat([key, text_key], dim=2)
        result = F.scaled_dot_product_attention(query, key, torch.cat([own[2], text[2]], dim=2))
        pixels = hidden_states.shape[1]
        image, words = result[:, :, :pixels], result[:, :, pixels:].transpose(1, 2).flatten(2)
        layer = LayerInputs(attn, hidden_states, self.state)
        for style in self.injections:
            image = style.add_to(image, own[0], own[1], own[2], layer)
        image = attn.to_out[1](attn.to_out[0](image.transpose(1, 2).flatten(2)))
        return image, words if attn.context_pre_only else attn.to_add_out(words)


def _norm(norm: Any, x: Tensor) -> Tensor:
    return x if norm is None else norm(x)
