"""Tokens of references beside those of the text, in the calls of a diffusion transformer."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from .attention.weight import Weight
from .denoising_state import DenoisingState

Tokens = Float[Tensor, "tokens width"]


@dataclass(frozen=True, eq=False)
class TextTokens:
    """Tokens that follow those of the text in each conditional call at whose step one of their weights is not 0."""

    tokens: Sequence[Tokens]
    weights: Sequence[Weight]
    """The weight of each part, for its schedule over the steps."""

    def append(self, arguments: Mapping[str, Any], state: DenoisingState) -> Mapping[str, Any]:
        """Append the tokens to the arguments of a call of the network, and note their number in the state.

        Args:
            arguments: Keyword arguments of the call.
            state: The state of the call.

        Returns:
            The arguments, the same where no tokens act.

        Raises:
            StyleError: The pipeline masks tokens of the text, so that tokens cannot follow them.
        """
        acting = any(weight.factor(state) for weight in self.weights)
        if not acting or state.parts == ("unconditional",):
            return arguments
        text, ids = arguments["encoder_hidden_states"], arguments["txt_ids"]
        if arguments.get("attention_mask") is not None:
            raise StyleError(
                "Tokens of a ReduxStyle follow those of the text, and this pipeline masks some of these, as Chroma's "
                "do; use a pipeline of FLUX.1."
            )
        added = torch.cat([tokens.to(text) for tokens in self.tokens])
        state.added_tokens = len(added)
        state.text_tokens += len(added)
        return {
            **arguments,
            "encoder_hidden_states": torch.cat([text, added.expand(len(text), -1, -1)], dim=1),
            # Tokens of text and references have no place in the image.
            "txt_ids": torch.cat([ids, ids.new_zeros(*ids.shape[:-2], len(added), ids.shape[-1])], dim=-2),
        }
