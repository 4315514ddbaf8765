"""Weights of tokens that a reference adds to those of the text, as biases of the joint attention."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..denoising_state import DenoisingState
from .interface import LayerInputs
from .weight import LayerWeight, Weight


@dataclass(frozen=True, eq=False)
class TokenWeight:
    """The weight of some of the text's tokens in one layer: its logarithm is added to the products with their keys.

    A weight of 1 changes nothing; with 0 nothing attends to the tokens, as if they were not there.
    """

    weight: Weight
    start: int
    """Place of the first token, counted from the end of the text: negative."""
    end: int
    """Place after the last one; 0 is the end of the text."""

    def to(self, x: Tensor) -> "TokenWeight":
        """Move to the device of `x`."""
        return replace(self, weight=self.weight.to(x))

    def build(self) -> "TokenBias":
        """Build what acts in the layer."""
        return TokenBias(self)


class TokenBias:
    """Adds the logarithm of a weight to the products of queries with the keys of some tokens."""

    def __init__(self, settings: TokenWeight) -> None:
        self.settings, self.weight = settings, LayerWeight(settings.weight)

    def prepare_step(self, state: DenoisingState) -> None:
        """Compute the weight of the current step.

        Raises:
            StyleError: The step is not known.
        """
        self.weight.prepare_step(state)

    def at(self, layer: LayerInputs) -> Float[Tensor, "1 1 queries tokens"] | None:
        """Return what is added to the products at the current step.

        Args:
            layer: The layer with the tokens of text and image in one stream.

        Returns:
            The bias, for all queries or for one that stands for all; None where it is 0, or the tokens are left out.
        """
        state, hidden_states = layer.state, layer.hidden_states
        if not state.added_tokens or self.weight.is_full:
            return None
        weight = self.weight.at(layer)
        weight = torch.zeros(1, 1, device=hidden_states.device) if weight is None else weight.view(-1, 1)
        places = slice(state.text_tokens + self.settings.start, state.text_tokens + self.settings.end)
        bias = torch.zeros(len(weight), hidden_states.shape[1], device=hidden_states.device)
        bias[:, places] = weight.log()
        return bias.to(hidden_states.dtype)[None, None]
