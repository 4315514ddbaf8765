"""Self-attention that follows an unstyled twin of each image, so that a style does not change the layout.

StyleStudio (arXiv 2412.08503) generates an unstyled image beside the styled one, from the same noise and prompt, and
lets the styled image use its self-attention's probabilities in the first steps:

    softmax(Q_twin K_twinᵀ/√d) · V_styled

Query and key are taken instead of the probabilities, so that no map is kept.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass

from torch import Tensor

from ..denoising_state import DenoisingState
from .interface import Attend, LayerInputs


@dataclass(frozen=True)
class TwinQueryKey:
    """Settings of one layer: none, as the twins of a batch are in the state of the call."""

    def to(self, x: Tensor) -> "TwinQueryKey":
        """Return itself: there are no tensors."""
        return self

    def build(self) -> "TwinAttention":
        """Build what acts in the layer."""
        return TwinAttention()


class TwinAttention:
    """Gives styled rows the queries and keys of their unstyled twins."""

    def prepare_step(self, state: DenoisingState) -> None:
        """Compute nothing: the rows are in the state."""

    def __call__(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, layer: LayerInputs) -> Tensor:
        """Compute the attention's result, see `AttentionInjection`."""
        twins = layer.state.twins
        if twins is None:
            return attend(query, key, value)
        layer.state.check_rows(len(query))
        source = list(twins.source)
        return attend(query[source], key[source], value)
