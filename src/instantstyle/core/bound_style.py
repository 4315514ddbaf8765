"""A style's keys and values, ready for a family of networks: all that drawing with it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from ..unet.blocks import Block, Layer, format_blocks

KeyValue = tuple[Float[Tensor, "2 _ _"], Float[Tensor, "2 _ _"]]
"""Of one style in one layer, [2 tokens width] each, without a scale: row 0 is what 'no picture' says
there, row 1 the style. Axes without names, as layers differ in width."""


@dataclass(frozen=True, eq=False)
class BoundKeyValues:
    """One style in some layers of one family, made by one adapter. Needs neither adapter nor image encoder.

    Row 0 of each is the same for all styles of an adapter, and kept all the same: where there is no adapter,
    there is nobody to ask for it.
    """

    family: str
    adapter: str
    """Fingerprint of the adapter that made it."""
    layers: Mapping[str, KeyValue]
    """By the layer's name in the network, `….transformer_blocks.0.attn2`."""
    shifts: Mapping[str, KeyValue] = field(default_factory=dict)
    """Of a style that is cleaned: what is added to these at the first step, by the same names."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Those whose layers it has, in execution order."""
        return tuple(sorted({block for name in self.layers if (block := Block.from_layer_name(name))}))

    @property
    def size(self) -> int:
        """Bytes of its numbers."""
        pairs = [*self.layers.values(), *self.shifts.values()]
        return sum(tensor.nbytes for pair in pairs for tensor in pair)

    def shift_for(self, name: str) -> KeyValue:
        """What cleaning adds in a layer; zeros where there is none."""
        key, value = self.layers[name]
        return self.shifts.get(name, (torch.zeros_like(key), torch.zeros_like(value)))

    def check_covers(self, layers: Sequence[Layer], told: str) -> None:
        """`StyleError` if these layers are not all bound."""
        absent = {layer.block for layer in layers if layer.block and layer.block not in self.blocks}
        if absent:
            raise StyleError(
                f"{told} is bound for {format_blocks(self.blocks)} of {self.family}, not for {format_blocks(absent)}; "
                f"use those, or bind it anew: instantstyle style … --bind {self.family} --blocks …"
            )
        for layer in layers:
            pair = self.layers.get(layer_key(layer))
            if pair is None or pair[0].shape[-1] != layer.width:
                has = "no keys" if pair is None else f"keys {pair[0].shape[-1]} wide"
                raise StyleError(
                    f"{told} is bound for another {self.family} than this network: it has {has} for "
                    f"{layer_key(layer)}, which is {layer.width} wide; bind it with this model."
                )


def mixed(parts: Sequence[tuple[BoundKeyValues, float]]) -> BoundKeyValues | None:
    """Σ wᵢKᵢ / Σ wᵢ and Σ wᵢVᵢ / Σ wᵢ in the layers that all have; None where there is none.

    Not what binding the mixed embedding gives: an adapter's projection ends in a LayerNorm. What it shares
    with it are its ends. Of one adapter, and in order: a sum of floats depends on it. What cleaning adds is
    mixed alike: of a part that is not cleaned it is zero.
    """
    first = parts[0][0]
    shared = [name for name in first.layers if all(name in binding.layers for binding, _ in parts)]
    if len({binding.adapter for binding, _ in parts}) > 1 or not shared:
        return None
    if any(len({binding.layers[name][0].shape for binding, _ in parts}) > 1 for name in shared):
        return None
    total = sum(weight for _, weight in parts)
    shares = [(binding, weight / total) for binding, weight in parts]
    layers = {name: _sum([(binding.layers[name], share) for binding, share in shares]) for name in shared}
    cleaned = [name for name in shared if any(name in binding.shifts for binding, _ in parts)]
    shifts = {name: _sum([(binding.shift_for(name), share) for binding, share in shares]) for name in cleaned}
    return BoundKeyValues(first.family, first.adapter, layers, shifts)


def _sum(shares: Sequence[tuple[KeyValue, float]]) -> KeyValue:
    key, value = (
        torch.stack([share * pair[which].float() for pair, share in shares]).sum(dim=0) for which in (0, 1)
    )
    return key, value


def layer_key(layer: Layer) -> str:
    """The layer's name without its processor's: the same in every network of the family."""
    return layer.name.removesuffix(".processor")
