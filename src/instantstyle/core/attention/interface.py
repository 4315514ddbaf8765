"""The interface of everything that acts in an attention layer."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, SupportsIndex, TypeVar, runtime_checkable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..denoising_state import DenoisingState
from ..protocols import AttentionModule

Heads = Float[Tensor, "batch heads tokens head"]


@runtime_checkable
class Attend(Protocol):
    """Computes the result of an attention."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """Compute softmax(Q Kᵀ/√d + bias) V.

        Args:
            query: [batch heads pixels head].
            key: [batch heads tokens head].
            value: As `key`.
            bias: Added to the products of query and key, over which it broadcasts; None for none.
        """
        ...


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """What an injection may read of its layer beside query, key and value."""

    attn: AttentionModule
    hidden_states: Float[Tensor, "batch pixels width"]
    """Features of the pixels, after the layer's own norm."""
    state: DenoisingState
    """State of the network's current call: parts of the batch, progress, size."""
    text: Float[Tensor, "batch words cross_dim"] | None = None
    """Embeddings of the text; None in self-attention."""
    is_one_stream: bool = False
    """Whether the pixels follow the text's tokens in `hidden_states`, as in some blocks of diffusion transformers."""


@runtime_checkable
class Injection(Protocol):
    """What acts in one attention layer, in whatever way its processor calls it."""

    def prepare_step(self, state: DenoisingState) -> None:
        """Compute what depends on the current step. It is called before the network, outside of compiled code."""
        ...


@runtime_checkable
class AttentionInjection(Injection, Protocol):
    """A method that acts in one attention layer of a UNet."""

    def __call__(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, layer: LayerInputs) -> Tensor:
        """Compute the attention's result.

        Args:
            attend: Computes the result without this injection; for the first one that is softmax(Q Kᵀ/√d) V. An
                injection may use its result, call it with other arguments, or both.
            query: Query of the pixels, [batch heads pixels head].
            key: Key of the text, or of the pixels in self-attention, [batch heads tokens head].
            value: Its value.
            layer: The layer.

        Returns:
            [batch heads pixels head].
        """
        ...


@runtime_checkable
class LayerSettings(Protocol):
    """The settings of an injection in one layer, from which it is built for a `with` block."""

    def to(self, x: Tensor) -> Self:
        """Cast to the device and dtype of `x`."""
        ...

    def build(self) -> Injection:
        """Build what acts."""
        ...


Acting = TypeVar("Acting", bound=Injection)


class StyledProcessor(Generic[Acting]):
    """What takes the place of a layer's attention processor. Each instance serves one layer and owns no weights."""

    needs_timestep = False
    """Whether its keys and values depend on the timestep, beside the progress."""

    def __init__(self, injections: Sequence[Acting], state: DenoisingState) -> None:
        """
        Args:
            injections: What acts in this layer.
            state: The state of the network's current call, shared by all layers.
        """
        self.injections, self.state = list(injections), state
        self.original: object = None
        """The processor in whose place it is installed; None before."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Copy and pickle the original processor: a copy of a styled network is not styled."""
        return super().__reduce_ex__(protocol) if self.original is None else (copy, (self.original,))

    def prepare_step(self) -> None:
        """Compute what depends on the current step. It is called before the network, outside of compiled code.

        Raises:
            StyleError: An injection needs the step, which is not known, or has a mask, which does not fit the batch.
        """
        for injection in self.injections:
            injection.prepare_step(self.state)


def add_injections(injections: Sequence[AttentionInjection], attend: Attend, layer: LayerInputs) -> Attend:
    """Return `attend` with injections around it; the last one is outermost."""
    for injection in injections:
        attend = _add_injection(injection, attend, layer)
    return attend


def _add_injection(injection: AttentionInjection, attend: Attend, layer: LayerInputs) -> Attend:
    def injected(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        inner = attend if bias is None else _add_bias(attend, bias)
        return injection(inner, query, key, value, layer)

    return injected


def _add_bias(attend: Attend, added: Tensor) -> Attend:
    def biased(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        return attend(query, key, value, added if bias is None else added + bias)

    return biased


def split_heads(x: Float[Tensor, "batch tokens width"], heads: int) -> Heads:
    """Split the width into attention heads."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def norm_heads(
    x: Float[Tensor, "*batch width"], head_width: int, epsilon: float, weight: Float[Tensor, " head"] | None = None
) -> Float[Tensor, "*batch width"]:
    """Divide each head by its root mean square, √(mean + epsilon), and multiply by a weight if there is one."""
    return F.rms_norm(x.unflatten(-1, (-1, head_width)), (head_width,), weight, epsilon).flatten(-2)
