"""Transformer blocks of a UNet: their names, their order and their selection by role, name or pattern."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import total_ordering
from itertools import groupby
from typing import cast

from ..errors import BlockError, suggest_nearest
from ..utils.numbers import is_finite_number
from ..utils.text import one_line, shorten

_EXECUTION_STAGES = ("down_blocks", "mid_block", "up_blocks")
"""The stages of a UNet in the order in which the forward pass runs them."""

_LISTING_STAGES = ("down_blocks", "up_blocks", "mid_block")
"""The same stages in the order in which diffusers lists them in `unet.attn_processors`."""

_BLOCK_NAME = re.compile(r"(?:(down_blocks|up_blocks)\.([0-9]{1,4})|(mid_block))\.attentions\.([0-9]{1,4})(?:\.|$)")


@total_ordering
@dataclass(frozen=True)
class Block:
    """A transformer block of a UNet, such as `up_blocks.0.attentions.1`. Sorts in execution order."""

    stage: str
    """`down_blocks`, `mid_block` or `up_blocks`."""
    index: int
    """Position among the blocks of the stage; 0 for `mid_block`."""
    attention: int
    """Position in the `attentions` list."""

    @classmethod
    def parse(cls, name: str) -> "Block":
        """Parse the name of a block.

        Args:
            name: A full block name, such as `up_blocks.0.attentions.1`.

        Raises:
            BlockError: `name` is not the name of a block.
        """
        block = cls.from_layer_name(name)
        if block is None or str(block) != name:
            raise BlockError(
                f"{shorten(name)} is not a block name; block names have the form up_blocks.0.attentions.1."
            )
        return block

    @classmethod
    def from_layer_name(cls, name: str) -> "Block | None":
        """Find the block that contains a layer.

        Args:
            name: Name of a layer, an attention processor or a parameter, relative to the UNet.

        Returns:
            The block, or None if the layer is outside of the transformer blocks.
        """
        match = _BLOCK_NAME.match(name)
        if match is None:
            return None
        stage, index, mid, attention = match.groups()
        return cls(stage or mid, int(index or 0), int(attention))

    @property
    def group(self) -> str:
        """Name of the parent module without `attentions`: `up_blocks.0` or `mid_block`."""
        return self.stage if self.stage == "mid_block" else f"{self.stage}.{self.index}"

    @property
    def listing_order(self) -> tuple[int, int, int]:
        """Sort key for diffusers' order (down, up, mid), by which adapters number their layers."""
        return _LISTING_STAGES.index(self.stage), self.index, self.attention

    @property
    def _execution_order(self) -> tuple[int, int, int]:
        return _EXECUTION_STAGES.index(self.stage), self.index, self.attention

    def __str__(self) -> str:
        return f"{self.group}.attentions.{self.attention}"

    def __lt__(self, other: "Block") -> bool:
        return self._execution_order < other._execution_order


@dataclass(frozen=True)
class Layer:
    """A cross-attention layer of a UNet."""

    number: int
    """Position in `unet.attn_processors`. Odd, because a self-attention precedes each of them."""
    name: str
    """Name of its attention processor, `….transformer_blocks.0.attn2.processor`."""
    width: int
    """Width of its keys and values."""
    cross_dim: int
    """Width of the text tokens that it reads."""

    @property
    def block(self) -> Block | None:
        """The block that contains the layer; None if it is outside of the transformer blocks."""
        return Block.from_layer_name(self.name)

    @property
    def key(self) -> str:
        """Module path of the layer, `….transformer_blocks.0.attn2`: the same in every network of a family."""
        return self.name.removesuffix(".processor")


BlockSpec = str | Block | Iterable[str | Block] | Mapping[str | Block, float]
"""A selection of blocks: a role (`style`), `all`, a block name, a pattern (`up_blocks.0.*`), several of these
joined by `+`, a list of them, or a mapping from them to weights.

Where a user's own input enters, a spec may name a probe file too (`probe.json`, `probe.json:layout`).
`probe_file.resolve_block_spec` replaces it by block names."""

Roles = Mapping[str, tuple[Block, ...]]
"""Blocks by the role that they play: `style`, `layout`."""


def select_blocks(
    spec: object, known: Sequence[Block], roles: Roles, network: str = "This network"
) -> dict[Block, float]:
    """Select blocks and their weights.

    If two entries select the same block, the later one applies. A block of weight 0 is left out, so that
    `{"all": 1, "up_blocks.1.*": 0}` selects all blocks but those.

    Args:
        spec: A `BlockSpec` without names of probe files.
        known: The blocks of the network.
        roles: The roles of the network.
        network: Name of the network in error messages.

    Returns:
        Weights by block, in execution order. Entries without a weight of their own have weight 1.

    Raises:
        BlockError: `spec` is not a `BlockSpec`, it is empty, a weight is not a finite number, or the network
            has no such block or role. The message lists what it has.
    """
    selected: dict[Block, float] = {}
    for name, weight in _split_spec(spec):
        selected |= dict.fromkeys(_match_blocks(name.strip(), known, roles, network), weight)
    return {block: selected[block] for block in sorted(selected) if selected[block] != 0}


def validate_weight(name: object, weight: object) -> float:
    """Check the weight of an entry of a block spec.

    Args:
        name: The entry, for the error message.
        weight: The value to check.

    Returns:
        The weight as a float.

    Raises:
        BlockError: The weight is not a finite number.
    """
    if not is_finite_number(weight):
        raise BlockError(
            f"The weight of {one_line(name, 80)} is {shorten(weight)}; it must be a finite number, 1 for full effect."
        )
    return float(cast(float, weight))


def invalid_spec_error(spec: object) -> BlockError:
    """Build the error for a value that is not a `BlockSpec`."""
    return BlockError(f"blocks cannot be {shorten(spec)}; pass a role, a name, a list of them or names with weights.")


def format_blocks(blocks: Iterable[Block]) -> str:
    """Format blocks as a short list: `mid_block.attentions.0, up_blocks.0.attentions.0–2`."""
    return ", ".join(_format_group(list(group)) for _, group in groupby(sorted(blocks), lambda block: block.group))


def copy_spec(spec: object) -> BlockSpec:
    """Copy a block spec, whose list or mapping the caller may change later, and check its types.

    Args:
        spec: The spec; an iterator is read to its end.

    Returns:
        A name or block as it is, a mapping as a dict, anything else as a tuple.

    Raises:
        BlockError: It is not a `BlockSpec`, it is empty, or a weight is not a finite number.
    """
    if isinstance(spec, str | Block):
        return spec
    copied: dict[object, float] | tuple[object, ...]
    if isinstance(spec, Mapping):
        entries = cast("Mapping[object, object]", spec).items()
        copied = {name: validate_weight(name, weight) for name, weight in entries}
    elif isinstance(spec, Iterable):
        copied = tuple(cast("Iterable[object]", spec))
    else:
        raise invalid_spec_error(spec)
    if not all(isinstance(name, str | Block) for name in copied):
        raise invalid_spec_error(cast("object", copied))
    if not copied:
        raise BlockError('No block is selected; pass style=None for the plain pipeline, "all" for every block.')
    return cast(BlockSpec, copied)


def _split_spec(spec: object) -> list[tuple[str, float]]:
    """Split a block spec into names without `+`, each with its weight."""
    copied = copy_spec(spec)
    if isinstance(copied, Mapping):
        weights = cast("Mapping[str | Block, float]", copied)
        return [(part, weight) for name, weight in weights.items() for part in str(name).split("+")]
    names = [copied] if isinstance(copied, str | Block) else copied
    return [(part, 1.0) for name in names for part in str(name).split("+")]


def _match_blocks(name: str, known: Sequence[Block], roles: Roles, network: str) -> Sequence[Block]:
    if not name:
        raise BlockError('A name in blocks is empty; pass a role such as "style", "all", or the name of a block.')
    if name == "all":
        return known
    if name in roles:
        return roles[name]
    matches = [block for block in known if fnmatchcase(str(block), name)]
    if not matches:
        raise _unknown_block_error(name, known, roles, network)
    return matches


def _unknown_block_error(name: str, known: Sequence[Block], roles: Roles, network: str) -> BlockError:
    if "," in name:
        joined = "+".join(part.strip() for part in name.split(","))
        return BlockError(
            f"{network} has no block {one_line(name, 80)}; join several by +, as {one_line(joined, 80)}, or "
            "in Python pass a list."
        )
    if name in ("style", "layout"):
        has = f"its roles are {', '.join(roles)}" if roles else "no published roles exist for it"
        return BlockError(f"{network} has no role {name!r}; {has}. Select blocks by name: {format_blocks(known)}.")
    unknown = Block.from_layer_name(name)
    siblings = [block for block in known if unknown and block.group == unknown.group]
    if siblings:
        # A role that all siblings play does not help to choose among them.
        played = [
            f"{role}: .{block.attention}"
            for role, blocks in roles.items()
            if not set(siblings) <= set(blocks)
            for block in blocks
            if block in siblings
        ]
        legal = format_blocks(siblings) + (f" ({', '.join(played)})" if played else "")
    else:
        legal = f"{format_blocks(known)}; roles {', '.join([*roles, 'all'])}"
    nearest = suggest_nearest(name, [*roles, "all", *map(str, known)])
    return BlockError(f"{network} has no block {one_line(name, 80)}; it has {legal}.{nearest}")


def _format_group(blocks: Sequence[Block]) -> str:
    """Format blocks of one group, sorted: `up_blocks.0.attentions.0–2`, or `….0/3` if there are gaps."""
    first, last = blocks[0], blocks[-1]
    if len(blocks) == 1:
        return str(first)
    contiguous = last.attention - first.attention == len(blocks) - 1
    numbers = f"{first.attention}–{last.attention}" if contiguous else "/".join(str(b.attention) for b in blocks)
    return f"{first.group}.attentions.{numbers}"
