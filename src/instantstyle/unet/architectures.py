"""Families of networks: their blocks, roles and layer widths; the UNets as tables with sources."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..errors import BlockError
from ..utils.text import shorten
from .block_selection import BlockSelector, split_spec
from .block_weights import EASE_SOURCE, EASES, SD15_TABLES, SDXL_TABLES, WeightTable, ease_weights
from .blocks import LAYERS, TRANSFORMER_STAGES, Block, BlockLayer, BlockOrLayer, BlockWeights, Roles
from .modes import MODES, expand_modes

AdapterInput = tuple[str, int, int | None]
"""Type of an adapter's projection, width of what it reads, and of a resampler's latents (None for other types)."""


@dataclass(frozen=True)
class Architecture:
    """A family of networks: its transformer blocks, and the roles that some of them play."""

    name: str
    """Name for commands and files: `sdxl`."""
    title: str
    """Name for messages: `SDXL`."""
    cross_dim: int | None
    """Width of the text tokens that the cross-attention reads; None if any width is accepted."""
    blocks: tuple[Block, ...]
    """All transformer blocks, in execution order."""
    roles: Roles = field(default_factory=dict[str, tuple[Block, ...]])
    """Blocks by role."""
    sources: Mapping[str, str] = field(default_factory=dict[str, str])
    """Source of each role."""
    experimental: bool = False
    """Whether the publishers of the roles call them experimental."""
    depths: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """By group (`up_blocks.0`): number of cross-attention layers in each of its blocks, and their width.
    Empty if unknown."""
    tables: Mapping[str, WeightTable] = field(default_factory=dict[str, WeightTable])
    """Published weights of the family's blocks by name."""
    projects_text: bool = False
    """Whether the UNet projects the text encoder's hidden states to `cross_dim` (`encoder_hid_dim` in its config)."""
    adapter_inputs: frozenset[AdapterInput] = frozenset()
    """What published adapters read, where another family has the same layers."""
    image_size: int | None = None
    """Side in pixels of the images that the encoder of these adapters reads; None for 224."""
    is_timed: bool = False
    """Whether keys and values of its adapters change with the timestep, so that no style can be bound."""
    head_width: int | None = None
    """Width of an attention's heads, where adapters norm keys and values by them."""
    counts: Mapping[Block, int] = field(default_factory=dict[Block, int], compare=False)
    """Number of cross-attention layers in each block of one network, where it is not that of `depths`."""

    @property
    def is_transformer(self) -> bool:
        """Whether the networks are diffusion transformers."""
        return any(block.attention is None for block in self.blocks)

    @property
    def has_single_stream(self) -> bool:
        """Whether there are blocks in which text and image are one stream, as adapters of InstantX's kind reach."""
        return any(block.stage == TRANSFORMER_STAGES[1] for block in self.blocks)

    @property
    def numbered_layers(self) -> dict[int, int]:
        """Width of each layer by its number in adapters.

        The cross-attentions of a UNet have odd numbers, as a self-attention precedes each of them; the joint
        attentions of a diffusion transformer are numbered from 0.
        """
        layers = self.layers
        numbers = range(len(layers)) if self.is_transformer else range(1, 2 * len(layers), 2)
        return dict(zip(numbers, layers.values(), strict=True))

    @property
    def layer_counts(self) -> Mapping[Block, int]:
        """Number of cross-attention layers in each block, as far as it is known."""
        by_table = {block: self.depths[block.group][0] for block in self.blocks if block.group in self.depths}
        return {**by_table, **self.counts}

    @property
    def weights(self) -> dict[str, BlockWeights]:
        """Weights of blocks by name: the family's published tables, and eases over all its blocks."""
        published: dict[str, BlockWeights] = {
            name: {self.blocks[number]: weight for number, weight in table.weights.items()}
            for name, table in self.tables.items()
        }
        return {**published, **ease_weights(self.blocks)}

    @property
    def weight_sources(self) -> dict[str, str]:
        """Source of each of `weights`."""
        eases = {name: f"{EASE_SOURCE}: {EASES[name].formula}" for name in ease_weights(self.blocks)}
        return {**{name: table.source for name, table in self.tables.items()}, **eases}

    @property
    def modes(self) -> list[str]:
        """Names of `MODES` whose roles and tables the network has."""
        return [name for name, lacking in self._list_lacking().items() if not lacking]

    def _list_lacking(self) -> dict[str, list[str]]:
        """List the roles and tables that each of `MODES` needs and the network has not."""
        known = {"all", *self.roles, *self.weights}
        return {name: sorted({*mode.conditional, *mode.unconditional} - known) for name, mode in MODES.items()}

    @property
    def layers(self) -> dict[str, int]:
        """Width of each cross-attention layer by module path, in the order by which adapters number them."""
        return {
            layer: width
            for block in sorted(self.blocks, key=lambda block: block.listing_order)
            for depth, width in [self.depths[block.group]]
            for layer in _list_layers(block, depth)
        }

    def select(self, spec: object) -> dict[BlockOrLayer, float]:
        """Select blocks, or layers inside them, and their weights.

        Args:
            spec: A `BlockSpec` without probe files, in which names may be modes (see `MODES`). A mode selects all
                blocks that it uses in the conditional or the unconditional half.

        Returns:
            Weights as in `BlockSelector.select`, never 0. In execution order, except for modes.

        Raises:
            BlockError: The spec is not valid, or the network has no such block, layer, role, table or mode.
        """
        self.check_modes(spec)
        conditional, unconditional = expand_modes(spec)
        specs = [conditional] if unconditional is None else [unconditional, conditional]
        selector = BlockSelector(self.blocks, self.layer_counts, self.roles, self.weights, self.title)
        selections = map(selector.select, specs)
        return {block: weight for selection in selections for block, weight in selection.items()}

    def select_in_all_rows(self, spec: object, what: str) -> dict[BlockOrLayer, float]:
        """Select blocks for what acts in all rows of a batch alike.

        Args:
            spec: As in `select`.
            what: What acts in them, for the message.

        Raises:
            BlockError: As in `select`, or a mode in the spec differs between the two halves of a batch.
        """
        if expand_modes(spec)[1]:
            raise BlockError(
                f"A mode of {shorten(spec)} acts in the unconditional half in blocks of its own, and {what} acts in "
                "both halves alike; name roles or blocks."
            )
        return self.select(spec)

    def check_modes(self, spec: object) -> None:
        """Check that the family has the roles and tables of the modes in a spec.

        Raises:
            BlockError: It is not a `BlockSpec`, or the family has not.
        """
        missing = self._list_lacking()
        for name, _ in split_spec(spec):
            if lacking := missing.get(name.strip()):
                raise BlockError(
                    f"{self.title} has no mode {name.strip()}, which needs {' and '.join(lacking)}; its modes are "
                    f"{', '.join(self.modes) or 'none'}."
                )

    def with_roles(self, roles: Roles, source: str) -> "Architecture":
        """Return the same family with other roles.

        Args:
            roles: Blocks by role; they replace all roles of the table.
            source: Source of all these roles.
        """
        return replace(self, roles=roles, sources=dict.fromkeys(roles, source))

    def with_layers(self, layer_names: Iterable[str]) -> "Architecture":
        """Return the same family with the numbers of layers of one network.

        Args:
            layer_names: Names of the network's cross-attention layers or their processors.
        """
        layers = {layer for name in layer_names if (layer := BlockLayer.from_layer_name(name))}
        counts = Counter(layer.block for layer in layers)
        return self if counts == self.layer_counts else replace(self, counts=counts)


def _list_layers(block: Block, depth: int) -> list[str]:
    """List the module paths of the attention layers of a block."""
    if block.attention is None:
        return [f"{block}.attn"]
    return [f"{block}.{LAYERS}.{position}.attn2" for position in range(depth)]


def _list_blocks(**counts: int) -> tuple[Block, ...]:
    """List blocks by group: `up_blocks_0=3` stands for `up_blocks.0.attentions.0–2`."""
    blocks: list[Block] = []
    for group, count in counts.items():
        stage, _, index = group.rpartition("_") if group[-1].isdigit() else (group, "", "0")
        blocks += [Block(stage, int(index), attention) for attention in range(count)]
    return tuple(sorted(blocks))


_SDXL_BLOCKS = _list_blocks(down_blocks_1=2, down_blocks_2=2, mid_block=1, up_blocks_0=3, up_blocks_1=3)

_SD15_BLOCKS = _list_blocks(
    down_blocks_0=2,
    down_blocks_1=2,
    down_blocks_2=2,
    mid_block=1,
    up_blocks_1=3,
    up_blocks_2=3,
    up_blocks_3=3,
)

SDXL = Architecture(
    name="sdxl",
    title="SDXL",
    cross_dim=2048,
    blocks=_SDXL_BLOCKS,
    roles={
        "style": (Block.parse("up_blocks.0.attentions.1"),),
        "layout": (Block.parse("down_blocks.2.attentions.1"),),
        "strong-style": tuple(b for b in _SDXL_BLOCKS if str(b) != "down_blocks.2.attentions.1"),
    },
    sources={
        "style": "arXiv 2404.02733, 'Injecting into Style Blocks Only' (its 'up block 0, attention 1')",
        "layout": "arXiv 2404.02733, 'Injecting into Style Blocks Only' (its 'down block 2, attention 1')",
        "strong-style": "ComfyUI IPAdapter Plus, 'strong style transfer': all blocks but the layout block",
    },
    tables=SDXL_TABLES,
    # huggingface.co/stabilityai/stable-diffusion-xl-base-1.0, unet/config.json.
    depths={
        "down_blocks.1": (2, 640),
        "down_blocks.2": (10, 1280),
        "mid_block": (10, 1280),
        "up_blocks.0": (10, 1280),
        "up_blocks.1": (2, 640),
    },
    # huggingface.co/h94/IP-Adapter, sdxl_models/: ip-adapter_sdxl, ip-adapter_sdxl_vit-h, ip-adapter-plus_sdxl_vit-h.
    adapter_inputs=frozenset({("base", 1280, None), ("base", 1024, None), ("plus", 1280, 1280)}),
)

KOLORS = replace(
    SDXL,
    name="kolors",
    title="Kolors",
    # huggingface.co/Kwai-Kolors/Kolors-diffusers, unet/config.json: SDXL's blocks, and encoder_hid_dim 4096.
    projects_text=True,
    sources=dict.fromkeys(
        SDXL.roles,
        "ComfyUI IPAdapter Plus, IPAdapterPlus.py: Kolors' adapters (cross dim 2048) act in the blocks of SDXL's",
    ),
    # huggingface.co/Kwai-Kolors/Kolors-IP-Adapter-Plus, ip_adapter_plus_general.bin.
    adapter_inputs=frozenset({("plus", 1024, 2048)}),
    image_size=336,
)

SD15 = Architecture(
    name="sd15",
    title="Stable Diffusion 1.5",
    cross_dim=768,
    blocks=_SD15_BLOCKS,
    roles={
        "style": tuple(block for block in _SD15_BLOCKS if block.group == "up_blocks.1"),
        "layout": tuple(block for block in _SD15_BLOCKS if block.group in ("down_blocks.2", "mid_block")),
    },
    sources={
        "style": "github.com/instantX-research/InstantStyle, infer_style_sd15.py: 'up_blocks.1'",
        "layout": "the same file: 'down_blocks.2' and 'mid_block'",
    },
    experimental=True,
    tables=SD15_TABLES,
    # huggingface.co/stable-diffusion-v1-5, unet/config.json: block_out_channels, one layer per block.
    depths={
        "down_blocks.0": (1, 320),
        "down_blocks.1": (1, 640),
        "down_blocks.2": (1, 1280),
        "mid_block": (1, 1280),
        "up_blocks.1": (1, 1280),
        "up_blocks.2": (1, 640),
        "up_blocks.3": (1, 320),
    },
)

MINI = Architecture(
    name="mini",
    title="mini",
    cross_dim=None,
    blocks=_SDXL_BLOCKS,
    # SDXL's blocks, and the one after its style block: the former carries colours and ground, the latter outlines.
    roles={
        "style": (Block.parse("up_blocks.0.attentions.1"), Block.parse("up_blocks.0.attentions.2")),
        "layout": (Block.parse("down_blocks.2.attentions.1"),),
    },
    sources=dict.fromkeys(("style", "layout"), "findings/results/blocks.json: proposed by the probe"),
    # training/mini/settings.py: UNET.
    depths={
        "down_blocks.1": (1, 64),
        "down_blocks.2": (2, 128),
        "mid_block": (2, 128),
        "up_blocks.0": (2, 128),
        "up_blocks.1": (1, 64),
    },
)

UNETS = (SDXL, SD15, KOLORS, MINI)
"""The known families of UNets."""
