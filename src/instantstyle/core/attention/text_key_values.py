"""Keys and values of the text, computed once for the steps of a call."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook  # pyright: ignore[reportPrivateUsage]

from ..protocols import AttentionModule
from .interface import Heads, split_heads


class TextKeyValueCache:
    """Keys and values of the text in one layer, kept while the network passes the identical tensor.

    Nothing is kept where gradients are needed, where a projection is more than `nn.Linear` (a LoRA's weight
    may change between steps), has hooks or a forward of its own, and inside a compiled network, whose guards would
    fail for every new prompt. Text and weights are compared by identity, version and address: the version counts
    changes in place, but not those of `tensor.data`, so that nothing is kept either where code of the caller runs
    between the steps.
    """

    def __init__(self) -> None:
        self._key_value: tuple[Tensor, Tensor] | None = None
        self._valid_for: tuple[_Mark, ...] = ()

    def key_value(
        self,
        attn: AttentionModule,
        hidden_states: Float[Tensor, "batch pixels width"],
        encoder_hidden_states: Float[Tensor, "batch words cross_dim"] | None,
        keep: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Return key and value, [batch heads words head].

        Args:
            attn: The attention module, for its projections and norms.
            hidden_states: Features of the pixels, which self-attention attends to.
            encoder_hidden_states: Embeddings of the text; None for self-attention.
            keep: Whether the next call may get the same key and value.
        """
        if encoder_hidden_states is None:
            return _project(attn, hidden_states)
        cacheable = keep and not torch.compiler.is_compiling() and _computes_the_same(attn, encoder_hidden_states)
        valid_for: tuple[_Mark, ...] = ()
        if cacheable:
            weights = (*attn.to_k.parameters(), *attn.to_v.parameters())
            valid_for = tuple(map(_Mark, (encoder_hidden_states, *weights)))
            if self._key_value is not None and self._valid_for == valid_for:
                return self._key_value
        text = encoder_hidden_states
        if attn.norm_cross:
            text = attn.norm_encoder_hidden_states(text)
        key, value = _project(attn, text)
        self._key_value, self._valid_for = ((key, value), valid_for) if cacheable else (None, ())
        return key, value


def _project(attn: AttentionModule, x: Float[Tensor, "batch tokens width"]) -> tuple[Heads, Heads]:
    key, value = split_heads(attn.to_k(x), attn.heads), split_heads(attn.to_v(x), attn.heads)
    return (key if attn.norm_k is None else attn.norm_k(key)), value


class _Mark:
    """Identity, version and address of a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.state = tensor, (tensor._version, tensor.data_ptr())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Mark) and self.tensor is other.tensor and self.state == other.state

    __hash__ = None  # pyright: ignore


def _computes_the_same(attn: AttentionModule, text: Tensor) -> bool:
    """Whether key and value depend on nothing but tensors whose changes are counted."""
    return (
        not torch.is_grad_enabled()
        and not text.is_inference()
        and not attn.norm_cross
        and attn.norm_k is None
        and not _has_any_global_hook()
        # Some tools replace the method of the class.
        and nn.Linear.forward.__module__ == "torch.nn.modules.linear"
        and all(map(_is_plain_linear, (attn.to_k, attn.to_v)))
    )


def _is_plain_linear(module: Any) -> bool:
    return (
        type(module) is nn.Linear
        and not (module._forward_hooks or module._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
        and "forward" not in vars(module)
        and vars(module).get("_compiled_call_impl") is None
        and all(type(each) is nn.Parameter and not each.is_inference() for each in module.parameters())
    )
