"""A style's keys and values, ready for a family of networks: all that drawing with it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .blocks import Block, Layer, listed
from .errors import StyleError

KeyValue = tuple[Float[Tensor, "2 _ _"], Float[Tensor, "2 _ _"]]
"""Of one style in one layer, [2 tokens width] each, without a scale: row 0 is what 'no picture' says
there, row 1 the style. Axes without names, as layers differ in width."""


@dataclass(frozen=True, eq=False)
class Binding:
    """One style in some layers of one family, made by one adapter. Needs neither adapter nor image encoder.

    Row 0 of each is the same for all styles of an adapter, and kept all the same: where there is no adapter,
    there is nobody to ask for it.
    """

    family: str
    adapter: str
    """Fingerprint of the adapter that made it."""
    layers: Mapping[str, KeyValue]
    """By the layer's name in the network, `….transformer_blocks.0.attn2`."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Those whose layers it has, in execution order."""
        return tuple(sorted({block for name in self.layers if (block := Block.of(name))}))

    @property
    def size(self) -> int:
        """Bytes of its numbers."""
        return sum(tensor.nbytes for pair in self.layers.values() for tensor in pair)

    def answers(self, layers: Sequence[Layer], told: str) -> dict[str, KeyValue]:
        """Keys and values by the processor's name; `StyleError` if these layers are not all bound."""
        absent = {layer.block for layer in layers if layer.block and layer.block not in self.blocks}
        if absent:
            raise StyleError(
                f"{told} is bound for {listed(self.blocks)} of {self.family}, not for {listed(absent)}; "
                f"use those, or bind it anew: instantstyle style … --bind {self.family} --blocks …"
            )
        found = {layer.name: self.layers.get(_plain(layer)) for layer in layers}
        for layer in layers:
            pair = found[layer.name]
            if pair is None or pair[0].shape[-1] != layer.width:
                has = "no keys" if pair is None else f"keys {pair[0].shape[-1]} wide"
                raise StyleError(
                    f"{told} is bound for another {self.family} than this network: it has {has} for "
                    f"{_plain(layer)}, which is {layer.width} wide; bind it with this model."
                )
        return {name: pair for name, pair in found.items() if pair is not None}


def mixed(parts: Sequence[tuple[Binding, float]]) -> Binding | None:
    """Σ wᵢKᵢ / Σ wᵢ and Σ wᵢVᵢ / Σ wᵢ in the layers that all have; None where there is none.

    Not what binding the mixed embedding gives: an adapter's projection ends in a LayerNorm. What it shares
    with it are its ends. Of one adapter, and in order: a sum of floats depends on it.
    """
    first = parts[0][0]
    shared = [name for name in first.layers if all(name in binding.layers for binding, _ in parts)]
    if len({binding.adapter for binding, _ in parts}) > 1 or not shared:
        return None
    if any(len({binding.layers[name][0].shape for binding, _ in parts}) > 1 for name in shared):
        return None
    total = sum(weight for _, weight in parts)
    shares = [(binding, weight / total) for binding, weight in parts]
    layers = {name: (_sum(shares, name, 0), _sum(shares, name, 1)) for name in shared}
    return Binding(first.family, first.adapter, layers)


def _sum(shares: Sequence[tuple[Binding, float]], name: str, which: int) -> Float[Tensor, "2 tokens width"]:
    weighed = [share * binding.layers[name][which].float() for binding, share in shares]
    return torch.stack(weighed).sum(dim=0)


def _plain(layer: Layer) -> str:
    return layer.name.removesuffix(".processor")
