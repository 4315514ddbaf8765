"""Selection of blocks, and of layers inside them, by role, table of weights, name, range or pattern."""

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import cast

from ..errors import BlockError, suggest_nearest
from ..utils.text import one_line
from .blocks import (
    LAYERS,
    Block,
    BlockLayer,
    BlockOrLayer,
    BlockWeights,
    Roles,
    copy_spec,
    format_blocks,
    format_numbers,
)

_RANGE = re.compile(r"(?:(?<=\.)|^)([0-9]{1,4})[-–]([0-9]{1,4})(?=\.|$)")
"""Numbers of blocks or layers from a first to a last, both included: `2-5`; messages print them with a dash."""


MAX_RANGES = 3
"""Numbers in the name of a layer: `up_blocks.0.attentions.1.transformer_blocks.3`."""


class BlockSelector:
    """What a block spec can select in one network.

    Args:
        blocks: The blocks of the network.
        layer_counts: Number of layers of each block; blocks that are left out can be selected only as a whole.
        roles: Blocks by role.
        tables: Weights of blocks by name, such as `ease-in`.
        network: Name of the network in error messages.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        layer_counts: Mapping[Block, int],
        roles: Roles,
        tables: Mapping[str, BlockWeights],
        network: str,
    ) -> None:
        self.blocks, self.layer_counts, self.roles, self.tables = blocks, layer_counts, roles, tables
        self.network = network

    def select(self, spec: object) -> dict[BlockOrLayer, float]:
        """Select blocks and their weights.

        If two entries select the same block or layer, the later one applies. What has the weight 0 is left out, so
        that `{"all": 1, "up_blocks.1.*": 0}` selects all blocks but those.

        Args:
            spec: A `BlockSpec` without names of probe files.

        Returns:
            Weights in execution order: by block, or by layer for blocks whose layers differ in weight. Entries without
            a weight of their own have weight 1.

        Raises:
            BlockError: `spec` is not a `BlockSpec`, it is empty, a weight is not a finite number, or the network
                has no such block, layer, role or table. The message lists what it has.
        """
        selected: dict[BlockOrLayer, float] = {}
        for name, weight in split_spec(spec):
            for part, share in self._match(name.strip().replace("–", "-")).items():
                self._set(selected, part, weight * share)
        self._merge_layers(selected)
        return {part: selected[part] for part in sorted(selected) if selected[part] != 0}

    def _set(self, selected: dict[BlockOrLayer, float], part: BlockOrLayer, weight: float) -> None:
        """Set the weight of a block or layer; a block of which a layer is set is replaced by all its layers."""
        if isinstance(part, Block):
            for layer in self._layers(part):
                selected.pop(layer, None)
        elif part.block in selected:
            selected |= dict.fromkeys(self._layers(part.block), selected.pop(part.block))
        selected[part] = weight

    def _merge_layers(self, selected: dict[BlockOrLayer, float]) -> None:
        """Replace the layers of a block by the block where all have one weight."""
        for block in {part.block for part in selected if isinstance(part, BlockLayer)}:
            layers = self._layers(block)
            weights = {selected.get(layer, 0.0) for layer in layers}
            if len(weights) == 1:
                for layer in layers:
                    selected.pop(layer, None)
                [selected[block]] = weights

    def _layers(self, block: Block) -> list[BlockLayer]:
        return [BlockLayer(block, position) for position in range(self.layer_counts.get(block, 0))]

    def _match(self, name: str) -> BlockWeights:
        """Return what a name of a spec selects, with weights."""
        if not name:
            raise BlockError('A name in blocks is empty; pass a role such as "style", "all", or the name of a block.')
        if name in self.tables:
            return self.tables[name]
        if name == "all":
            return dict.fromkeys(self.blocks, 1.0)
        if name in self.roles:
            return dict.fromkeys(self.roles[name], 1.0)
        matches: dict[BlockOrLayer, float] = {}
        for pattern in _expand_ranges(name):
            known = self._list_layers(pattern) if f".{LAYERS}" in pattern else self.blocks
            found = [part for part in known if fnmatchcase(str(part), pattern)]
            if not found:
                raise self._unknown_error(name, pattern)
            matches |= dict.fromkeys(found, 1.0)
        if not matches:
            raise BlockError(f"The range in {one_line(name, 80)} is empty: its first number is above its last.")
        return matches

    def _list_layers(self, pattern: str) -> list[BlockLayer]:
        """List the layers of the blocks that a pattern for layers matches."""
        of_block = pattern.partition(LAYERS)[0].removesuffix(".")
        return [layer for block in self.blocks if fnmatchcase(str(block), of_block) for layer in self._layers(block)]

    def _unknown_error(self, name: str, pattern: str) -> BlockError:
        """Build the error for a name that selects nothing.

        Args:
            name: The name as it was given, possibly with ranges.
            pattern: The name with a number in place of each range.
        """
        if "," in name:
            joined = "+".join(part.strip() for part in name.split(","))
            return BlockError(
                f"{self.network} has no block {one_line(name, 80)}; join several by +, as {one_line(joined, 80)}, or "
                "in Python pass a list."
            )
        if re.fullmatch(r"[^=]+=[0-9.]+", name):
            return BlockError(
                f"{self.network} has no block {one_line(name, 80)}; weights are a mapping, in Python, recipes, "
                'manifests and requests: {"style": 0.5}. For one weight use the scale, --scale.'
            )
        if name in ("style", "layout"):
            has = f"its roles are {', '.join(self.roles)}" if self.roles else "no published roles exist for it"
            return BlockError(
                f"{self.network} has no role {name!r}; {has}. Select blocks by name: {format_blocks(self.blocks)}."
            )
        unknown = Block.from_layer_name(pattern)
        if unknown in self.blocks and f"{unknown}.{LAYERS}" in pattern:
            return self._unknown_layer_error(name, pattern, cast(Block, unknown))
        siblings = [block for block in self.blocks if unknown and block.group == unknown.group]
        names = [*self.roles, "all"]
        if siblings:
            # A role that all siblings play does not help to choose among them.
            played = [
                f"{role}: .{block.number}"
                for role, blocks in self.roles.items()
                if not set(siblings) <= set(blocks)
                for block in siblings
                if block in blocks
            ]
            legal = format_blocks(siblings) + (f" ({', '.join(played)})" if played else "")
        else:
            legal = f"{format_blocks(self.blocks)}; roles {', '.join(names)}"
        nearest = suggest_nearest(name, [*names, *self.tables, *map(str, self.blocks)])
        return BlockError(f"{self.network} has no block {one_line(name, 80)}; it has {legal}.{nearest}")

    def _unknown_layer_error(self, name: str, pattern: str, block: Block) -> BlockError:
        layers = self._layers(block)
        if not layers:
            return BlockError(f"How many layers {block} of {self.network} has is not known; select the whole block.")
        number = BlockLayer.from_layer_name(pattern)
        nearest = layers[min(number.position, len(layers) - 1) if number else 0]
        return BlockError(
            f"{self.network} has no layer {one_line(name, 80)}; {block} has {LAYERS}."
            f"{format_numbers(range(len(layers)))}. Did you mean {nearest}?"
        )


def select_blocks(
    spec: object, known: Sequence[Block], roles: Roles, network: str = "This network"
) -> dict[BlockOrLayer, float]:
    """Select whole blocks by role, name or pattern, see `BlockSelector.select`.

    Args:
        spec: A `BlockSpec` without names of probe files, tables and layers.
        known: The blocks of the network.
        roles: The roles of the network.
        network: Name of the network in error messages.
    """
    return BlockSelector(known, {}, roles, {}, network).select(spec)


def split_spec(spec: object) -> list[tuple[str, float]]:
    """Split a block spec into names without `+`, each with its weight."""
    copied = copy_spec(spec)
    if isinstance(copied, Mapping):
        weights = cast("Mapping[str | BlockOrLayer, float]", copied)
        return [(part, weight) for name, weight in weights.items() for part in str(name).split("+")]
    names = [copied] if isinstance(copied, str | BlockOrLayer) else copied
    return [(part, 1.0) for name in names for part in str(name).split("+")]


def _expand_ranges(name: str) -> Iterator[str]:
    """Yield the name with each number of its ranges; one by one, as ranges are short texts for many numbers."""
    texts = _RANGE.split(name)
    if len(texts) > 3 * MAX_RANGES + 1:
        raise BlockError(
            f"{one_line(name, 80)} has more than {MAX_RANGES} ranges, and the names of blocks no more numbers."
        )
    ranges = [range(int(first), int(last) + 1) for first, last in zip(texts[1::3], texts[2::3], strict=True)]
    for numbers in product(*ranges):
        inserted = [*map(str, numbers), ""]
        yield "".join(part for pair in zip(texts[::3], inserted, strict=True) for part in pair)
