"""Keys and values of a style for a family of networks: all that generating with the style needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ..architectures import UNKNOWN
from ..errors import StyleError
from ..unet.blocks import Block, BlockLayer, Layer, format_blocks, format_numbers

KeyValue = tuple[Float[Tensor, "2 _ _"], Float[Tensor, "2 _ _"]]
"""Key and value of one style in one layer, [2 tokens width] each, without a scale: row 0 is unconditional (no
reference image), row 1 the style. Axes have no names, as layers differ in width."""


TIMESTEP_TOLERANCE = 0.5
"""Largest difference to a timestep of a table, of 1000: rounding in half precision is less."""


def find_timestep(table: Sequence[float], timestep: float, style: str = "A style") -> int:
    """Find the place of a timestep among those for which a style is bound.

    Args:
        table: The timesteps of the style.
        timestep: The timestep, in 0..1000.
        style: Label of the style, for the message.

    Raises:
        StyleError: It is not among them.
    """
    place = min(range(len(table)), key=lambda place: abs(table[place] - timestep))
    if abs(table[place] - timestep) > TIMESTEP_TOLERANCE:
        raise StyleError(
            f"{style} is bound for a schedule of {len(table)} steps, which has no timestep {timestep:g}; generate "
            f"with {len(table)} steps, or bind it for those of this call."
        )
    return place


def bind_command(family: str) -> str:
    """Return the command that binds a style for a family, for messages; `MODEL` stands for one of no known family."""
    return f"instantstyle style … --bind {'MODEL' if family.startswith(UNKNOWN) else family}"


@dataclass(frozen=True, eq=False)
class BoundKeyValues:
    """Keys and values of one style in some layers of one family, computed with one adapter.

    Generating with them needs neither adapter nor image encoder. Row 0 is equal for all styles of an adapter; it is
    stored with each style, as it cannot be computed without the adapter.
    """

    family: str
    """Name of the architecture."""
    adapter: str
    """Fingerprint of the adapter; empty where the keys and values are not going to be saved."""
    layers: Mapping[str, KeyValue]
    """Key and value by `Layer.key`, `….transformer_blocks.0.attn2`."""
    shifts: Mapping[str, KeyValue] = field(default_factory=dict[str, KeyValue])
    """With token cleaning: what is added at the first step, by `Layer.key`."""
    timesteps: tuple[float, ...] = ()
    """Timesteps at which keys and values were computed, where they change with it: the tokens of all of them stand one
    after another on the axis of tokens. Empty where they do not change."""
    norms: Mapping[str, Float[Tensor, "2 head"]] = field(default_factory=dict[str, Tensor])
    """Weights of the adapter's norms of the image's queries and keys, by `Layer.key`, where it has some."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of the layers, in execution order."""
        found = map(Block.from_layer_name, self.layers)
        return tuple(sorted({block for block in found if block}))

    @property
    def size(self) -> int:
        """Size of all tensors in bytes."""
        groups = [*self.layers.values(), *self.shifts.values(), self.norms.values()]
        return sum(tensor.nbytes for group in groups for tensor in group)

    def shift_for(self, key: str) -> KeyValue:
        """Return what token cleaning adds in a layer; zeros where the style is not cleaned."""
        keys, values = self.layers[key]
        return self.shifts.get(key, (torch.zeros_like(keys), torch.zeros_like(values)))

    def check_covers(self, layers: Sequence[Layer], style: str) -> None:
        """Check that every layer has keys and values of its width.

        Args:
            layers: The layers that the style is to act in.
            style: Label of the style, for the message.

        Raises:
            StyleError: Blocks are missing, or the layers belong to another network.
        """
        # Networks of no known family share a name, and blocks of transformers have the same names in all of them.
        if any(layer.is_timed != bool(self.timesteps) for layer in layers):
            here, there = "are the same at all steps", "change with the step"
            here, there = (here, there) if self.timesteps else (there, here)
            raise StyleError(
                f"{style} is bound for another network of the family {self.family}, in which keys and values {there}; "
                f"here they {here}; bind it with this model."
            )
        missing = {layer.block for layer in layers if layer.block and layer.block not in self.blocks}
        if missing:
            raise StyleError(
                f"{style} is bound for {format_blocks(self.blocks)} of {self.family}, not for "
                f"{format_blocks(missing)}; use those, or bind it again: "
                f"{bind_command(self.family)} --blocks …"
            )
        for layer in layers:
            pair = self.layers.get(layer.key)
            if pair is None and layer.block:
                positions = format_numbers(self._positions(layer.block))
                raise StyleError(
                    f"{style} is bound for layers {positions} of {layer.block} of {self.family}, not for {layer.key}; "
                    f"use those, or bind it again with this model: "
                    f"{bind_command(self.family)} --blocks …"
                )
            if pair is None or pair[0].shape[-1] != layer.width:
                has = "no keys" if pair is None else f"keys of width {pair[0].shape[-1]}"
                raise StyleError(
                    f"{style} is bound for another network of the family {self.family}: it has {has} for "
                    f"{layer.key}, whose width is {layer.width}; bind it with this model."
                )

    def check_has_timesteps(self, timesteps: Sequence[float], style: str) -> None:
        """Check that the style is bound for all timesteps of a call, where its keys and values change with them.

        Args:
            timesteps: The timesteps, in 0..1000.
            style: Label of the style, for the message.

        Raises:
            StyleError: It is bound for those of another schedule.
        """
        for timestep in timesteps if self.timesteps else ():
            find_timestep(self.timesteps, timestep, style)

    def _positions(self, block: Block) -> list[int]:
        """List the positions of the layers of a block that have keys and values."""
        found = filter(None, map(BlockLayer.from_layer_name, self.layers))
        return sorted(layer.position for layer in found if layer.block == block)
