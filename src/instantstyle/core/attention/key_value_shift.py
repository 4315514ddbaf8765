"""What cleaning adds to the keys and values of a style over the steps."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..cleanstyle import SingularTail, suppression
from ..content_removal import cleaning_weight
from ..denoising_state import DenoisingState

KeyValueShift = tuple[Float[Tensor, "2 prompts tokens width"], Float[Tensor, "2 prompts tokens width"]]
"""What is added to keys and values at one step."""


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

    def weight_at(self, progress: float) -> Float[Tensor, "2 1 1 1"]:
        """Return the share of the shift that is left after a share of the steps."""
        return cleaning_weight(torch.tensor(progress).to(self.rates), self.rates)[:, None, None, None].to(self.key)

    def at(self, state: DenoisingState) -> KeyValueShift:
        """Return what is added to keys and values at the current step."""
        weight = self.weight_at(state.progress)
        return weight * self.key, weight * self.value


@dataclass(frozen=True)
class TailDecay:
    """What CleanStyle's method adds to a style's keys and values, which changes with the steps: `cleanstyle`."""

    key: SingularTail
    value: SingularTail
    exponent: Float[Tensor, "2 prompts"]
    """α·s of each row and prompt; 0 leaves the row as it is."""

    def to(self, x: Tensor) -> "TailDecay":
        """Move to the device of `x`; the dtypes stay."""
        return TailDecay(self.key.to(x), self.value.to(x), self.exponent.to(x.device))

    def at(self, state: DenoisingState) -> KeyValueShift:
        """Return what is added to keys and values at the current step."""
        exponent = suppression(state.progress_after) * self.exponent
        return self.key.shrunk_by(exponent), self.value.shrunk_by(exponent)
