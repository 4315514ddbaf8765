"""Transformer blocks of a UNet or a diffusion transformer, the layers inside them, and block specs.

Names are those of diffusers' modules: `up_blocks.0.attentions.1` in a UNet, whose blocks hold lists of layers;
`transformer_blocks.7` and `single_transformer_blocks.24` in a diffusion transformer, whose blocks have one layer.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import total_ordering
from itertools import groupby
from typing import Literal, cast

from ..errors import BlockError
from ..utils.numbers import is_finite_number
from ..utils.text import one_line, shorten

Placement = Literal["attention", "stream"]
"""Where a style's result is added: to that of the attention, before its output projection, or to the image stream
after the block."""

TRANSFORMER_STAGES = ("transformer_blocks", "single_transformer_blocks")
"""The stages of a diffusion transformer: text and image as two streams, then as one."""

_EXECUTION_STAGES = ("down_blocks", "mid_block", "up_blocks", *TRANSFORMER_STAGES)
"""The stages of a network in the order in which the forward pass runs them."""

_LISTING_STAGES = ("down_blocks", "up_blocks", "mid_block", *TRANSFORMER_STAGES)
"""The same stages in the order in which diffusers lists them in `attn_processors`."""

LAYERS = "transformer_blocks"
"""The list of a block's layers in diffusers: `up_blocks.0.attentions.1.transformer_blocks.3`."""

_BLOCK_NAME = re.compile(
    r"(?:(?:(?P<part>down_blocks|up_blocks)\.(?P<index>[0-9]{1,4})|(?P<mid>mid_block))"
    r"\.attentions\.(?P<attention>[0-9]{1,4})"
    rf"|(?P<stage>{'|'.join(TRANSFORMER_STAGES)})\.(?P<number>[0-9]{{1,4}}))(?:\.|$)"
)

_LAYER_SUFFIX = re.compile(rf"\.{LAYERS}\.([0-9]{{1,4}})(?:\.|$)")


@total_ordering
@dataclass(frozen=True)
class Block:
    """A transformer block, such as `up_blocks.0.attentions.1` or `transformer_blocks.7`. Sorts in execution order."""

    stage: str
    """`down_blocks`, `mid_block` or `up_blocks` of a UNet, or one of `TRANSFORMER_STAGES`."""
    index: int
    """Position among the blocks of the stage; 0 for `mid_block`."""
    attention: int | None = None
    """Position in the `attentions` list; None in a diffusion transformer."""

    @classmethod
    def parse(cls, name: str) -> "Block":
        """Parse the name of a block.

        Args:
            name: A full block name, such as `up_blocks.0.attentions.1` or `transformer_blocks.7`.

        Raises:
            BlockError: `name` is not the name of a block.
        """
        block = cls.from_layer_name(name)
        if block is None or str(block) != name:
            raise BlockError(
                f"{shorten(name)} is not a block name; block names have the form up_blocks.0.attentions.1, or "
                "transformer_blocks.7 in a diffusion transformer."
            )
        return block

    @classmethod
    def from_layer_name(cls, name: str) -> "Block | None":
        """Find the block that contains a layer.

        Args:
            name: Name of a layer, an attention processor or a parameter, relative to the network.

        Returns:
            The block, or None if the layer is outside of the transformer blocks.
        """
        match = _BLOCK_NAME.match(name)
        if match is None:
            return None
        if stage := match["stage"]:
            return cls(stage, int(match["number"]))
        return cls(match["part"] or match["mid"], int(match["index"] or 0), int(match["attention"]))

    @property
    def group(self) -> str:
        """Name of the parent module without `attentions`: `up_blocks.0`, `mid_block` or `transformer_blocks`."""
        alone = self.stage == "mid_block" or self.attention is None
        return self.stage if alone else f"{self.stage}.{self.index}"

    @property
    def list_name(self) -> str:
        """Name of the list that holds the block: `up_blocks.0.attentions` or `transformer_blocks`."""
        return self.group if self.attention is None else f"{self.group}.attentions"

    @property
    def number(self) -> int:
        """Position in that list."""
        return self.index if self.attention is None else self.attention

    @property
    def listing_order(self) -> tuple[int, int, int]:
        """Sort key for diffusers' order (down, up, mid), by which adapters number their layers."""
        return _LISTING_STAGES.index(self.stage), self.index, self.attention or 0

    @property
    def execution_order(self) -> tuple[int, int, int]:
        """Sort key for the order in which the forward pass runs blocks (down, mid, up)."""
        return _EXECUTION_STAGES.index(self.stage), self.index, self.attention or 0

    def __str__(self) -> str:
        return f"{self.list_name}.{self.number}"

    def __lt__(self, other: "Block | BlockLayer") -> bool:
        return sort_key(self) < sort_key(other)


@total_ordering
@dataclass(frozen=True)
class BlockLayer:
    """A layer inside a block, `up_blocks.0.attentions.1.transformer_blocks.3`. Sorts in execution order.

    The blocks of a diffusion transformer have one layer each, which has no address of its own.
    """

    block: Block
    """The block that contains the layer."""
    position: int
    """Position in the block's `transformer_blocks` list, from 0."""

    @classmethod
    def from_layer_name(cls, name: str) -> "BlockLayer | None":
        """Find the layer that a name is of or inside of; None if it is in no layer of a block."""
        block = Block.from_layer_name(name)
        match = _LAYER_SUFFIX.match(name, len(str(block)))
        return cls(block, int(match[1])) if block and match else None

    def __str__(self) -> str:
        return f"{self.block}.{LAYERS}.{self.position}"

    def __lt__(self, other: "Block | BlockLayer") -> bool:
        return sort_key(self) < sort_key(other)


BlockOrLayer = Block | BlockLayer
"""A block, or one layer inside a block."""


def sort_key(part: BlockOrLayer) -> tuple[int, ...]:
    """Return the sort key for execution order; a block comes before its layers."""
    block, position = (part, -1) if isinstance(part, Block) else (part.block, part.position)
    return *block.execution_order, position


def parse_block_or_layer(name: str) -> BlockOrLayer:
    """Parse the full name of a block or of a layer inside a block.

    Raises:
        BlockError: `name` is neither.
    """
    layer = BlockLayer.from_layer_name(name)
    return layer if layer is not None and str(layer) == name else Block.parse(name)


@dataclass(frozen=True)
class Layer:
    """A layer that a style can act in: of a UNet a cross-attention, of a diffusion transformer a joint attention."""

    number: int
    """Number of the layer in adapters. Of a UNet the position in `attn_processors`, which is odd, because a
    self-attention precedes each of them."""
    name: str
    """Name of its attention processor, `….transformer_blocks.0.attn2.processor`."""
    width: int
    """Width of its keys and values."""
    cross_dim: int
    """Width of the text tokens that it reads, which is that of an adapter's image tokens."""
    has_bias: bool = False
    """Whether an adapter's keys and values have a bias there."""
    normed_width: int | None = None
    """Width of the heads by which an adapter's keys and values are normed there; None where they are not."""
    placement: Placement = "attention"
    """Where a style's result is added."""
    is_timed: bool = False
    """Whether an adapter's keys and values change with the timestep there."""

    @property
    def block(self) -> Block | None:
        """The block that contains the layer; None if it is outside of the transformer blocks."""
        return Block.from_layer_name(self.name)

    @property
    def block_layer(self) -> BlockLayer | None:
        """Its position inside of the block; None if it is outside of the transformer blocks."""
        return BlockLayer.from_layer_name(self.name)

    @property
    def key(self) -> str:
        """Module path of the layer, `….transformer_blocks.0.attn2`: the same in every network of a family."""
        return self.name.removesuffix(".processor")


BlockSpec = str | BlockOrLayer | Iterable[str | BlockOrLayer] | Mapping[str | BlockOrLayer, float]
"""A selection of blocks and of layers inside them: a role (`style`), a table of weights (`ease-in`), `all`, the name
of a block or of a layer, also with ranges and patterns (`up_blocks.0.attentions.1.transformer_blocks.2-5`,
`up_blocks.0.*`), several of these joined by `+`, a list of them, or a mapping from them to weights.

Where a user's own input enters, a spec may name a probe file too (`probe.json`, `probe.json:layout`).
`probe_file.resolve_block_spec` replaces it by block names."""

Roles = Mapping[str, tuple[BlockOrLayer, ...]]
"""Blocks, or layers inside them, by the role that they play: `style`, `layout`."""

BlockWeights = Mapping[BlockOrLayer, float]
"""Weights by block. A block whose layers differ in weight is replaced by those of its layers that are selected."""


def find_weight(weights: BlockWeights, layer: Layer | str) -> float:
    """Return the weight of a layer in a selection, 0 if it is not selected.

    Args:
        weights: The selection.
        layer: A cross-attention layer, or the name of any module inside of a block.
    """
    name = layer if isinstance(layer, str) else layer.name
    block, part = Block.from_layer_name(name), BlockLayer.from_layer_name(name)
    if block is None:
        return 0.0
    # A wrapper inside of the block, which hides the place of its layers, does not unselect them.
    own = 0.0 if part is None else weights.get(part, 0.0)
    return weights.get(block, own)


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


def format_blocks(parts: Iterable[BlockOrLayer]) -> str:
    """Format blocks and layers as a short list: `mid_block.attentions.0, up_blocks.0.attentions.0–2`."""
    groups = groupby(sorted(parts, key=sort_key), _list_of)
    return ", ".join(f"{name}.{format_numbers(map(_number_of, group))}" for name, group in groups)


def format_numbers(numbers: Iterable[int]) -> str:
    """Format sorted numbers as `0–2`, or as `0/3` if there are gaps."""
    numbers = list(numbers)
    if len(numbers) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}–{numbers[-1]}"
    return "/".join(map(str, numbers))


def _list_of(part: BlockOrLayer) -> str:
    """Return the name of the list that holds a block or layer: `up_blocks.0.attentions`."""
    return part.list_name if isinstance(part, Block) else f"{part.block}.{LAYERS}"


def _number_of(part: BlockOrLayer) -> int:
    return part.number if isinstance(part, Block) else part.position


def copy_spec(spec: object) -> BlockSpec:
    """Copy a block spec, whose list or mapping the caller may change later, and check its types.

    Args:
        spec: The spec; an iterator is read to its end.

    Returns:
        A name or block as it is, a mapping as a dict, anything else as a tuple.

    Raises:
        BlockError: It is not a `BlockSpec`, it is empty, or a weight is not a finite number.
    """
    if isinstance(spec, str | BlockOrLayer):
        return spec
    copied: dict[object, float] | tuple[object, ...]
    if isinstance(spec, Mapping):
        entries = cast("Mapping[object, object]", spec).items()
        copied = {name: validate_weight(name, weight) for name, weight in entries}
    elif isinstance(spec, Iterable):
        copied = tuple(cast("Iterable[object]", spec))
    else:
        raise invalid_spec_error(spec)
    if not all(isinstance(name, str | BlockOrLayer) for name in copied):
        raise invalid_spec_error(cast("object", copied))
    if not copied:
        raise BlockError('No block is selected; pass style=None for the plain pipeline, "all" for every block.')
    return cast(BlockSpec, copied)
