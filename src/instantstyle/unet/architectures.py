"""Which blocks each family of networks has, and what they carry: tables, each with its source."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .blocks import Block, Roles, select
from .probe_file import read_roles, resolve_block_spec


@dataclass(frozen=True)
class Architecture:
    """A family: its transformer blocks in execution order and the roles that some of them play."""

    name: str
    title: str
    cross_dim: int | None
    """Width of the text tokens that its cross-attention reads; None when any width will do."""
    blocks: tuple[Block, ...]
    roles: Roles = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each role's row comes from."""
    experimental: bool = False
    """True where those who published the roles call them so."""
    depths: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By group (`up_blocks.0`): how many cross-attentions each of its blocks has, and how wide they are."""

    @property
    def layers(self) -> dict[str, int]:
        """Each cross-attention and its width, in the order by which adapters number them."""
        return {
            f"{block}.transformer_blocks.{place}.attn2": width
            for block in sorted(self.blocks, key=lambda block: block.listing)
            for depth, width in [self.depths[block.group]]
            for place in range(depth)
        }

    def select(self, spec: Any) -> dict[Block, float]:
        """Blocks and weights chosen by a role, a name, a pattern, a probe's file, a list or a mapping.

        Of a mode, all blocks that it reaches, whether it acts there or against.
        """
        mode = MODES.get(spec) if isinstance(spec, str) else None
        wanted = [mode.against, mode.acts] if mode else [spec]
        parts = [select(self.resolve_blocks(part), self.blocks, self.roles, self.title) for part in wanted]
        return {block: weight for part in parts for block, weight in part.items()}

    def resolve_blocks(self, spec: Any) -> Any:
        """The selection with names of blocks for a probe's file in it; one of another network is refused."""
        return resolve_block_spec(spec, self.blocks, self.name)

    def as_probed(self, path: str | Path) -> "Architecture":
        """The same network with the roles that the probe proposes instead of its table's own."""
        roles = read_roles(path, self.blocks, self.name)
        return replace(self, roles=roles, sources=dict.fromkeys(roles, f"probed: {path}"))


def _blocks(**counts: int) -> tuple[Block, ...]:
    """`up_blocks_0=3` stands for up_blocks.0.attentions.0–2."""
    found = []
    for group, count in counts.items():
        stage, _, index = group.rpartition("_") if group[-1].isdigit() else (group, "", "0")
        found += [Block(stage, int(index), attention) for attention in range(count)]
    return tuple(sorted(found))


def _named(*addresses: str) -> tuple[Block, ...]:
    return tuple(map(Block.parse, addresses))


_SDXL_BLOCKS = _blocks(down_blocks_1=2, down_blocks_2=2, mid_block=1, up_blocks_0=3, up_blocks_1=3)

_SD15_BLOCKS = _blocks(
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
        "style": _named("up_blocks.0.attentions.1"),
        "layout": _named("down_blocks.2.attentions.1"),
        "strong-style": tuple(b for b in _SDXL_BLOCKS if str(b) != "down_blocks.2.attentions.1"),
    },
    sources={
        "style": "arXiv 2404.02733, section 3.2 (its 'up block 0, attention 1')",
        "layout": "arXiv 2404.02733, section 3.2 (its 'down block 2, attention 1')",
        "strong-style": "ComfyUI IPAdapter Plus, 'strong style transfer': all but the layout block",
    },
    # huggingface.co/stabilityai/stable-diffusion-xl-base-1.0, unet/config.json.
    depths={
        "down_blocks.1": (2, 640),
        "down_blocks.2": (10, 1280),
        "mid_block": (10, 1280),
        "up_blocks.0": (10, 1280),
        "up_blocks.1": (2, 640),
    },
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
    # huggingface.co/stable-diffusion-v1-5, unet/config.json: block_out_channels, one layer a block.
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

MINI_ROLES = {
    "style": _named("up_blocks.1.attentions.2"),
    "layout": _named("up_blocks.1.attentions.1"),
}
"""Found by probing, and not where SDXL has them: in mini the adapter speaks through its last two blocks,
on 8 × 8 latents. The last but one brings the layout, the last the colours."""

MINI = Architecture(
    name="mini",
    title="mini",
    cross_dim=None,
    blocks=_SDXL_BLOCKS,
    roles=MINI_ROLES,
    sources={
        "style": "findings/results/blocks.json: each block alone, by the judge",
        "layout": "training/mini/results/table.json: its arm, by the judge",
    },
    # training/mini/settings.py: UNET.
    depths={
        "down_blocks.1": (1, 64),
        "down_blocks.2": (1, 128),
        "mid_block": (1, 128),
        "up_blocks.0": (1, 128),
        "up_blocks.1": (1, 64),
    },
)

ARCHITECTURES = (SDXL, SD15, MINI)


@dataclass(frozen=True)
class Mode:
    """Blocks in which a style acts, and those in which guidance pushes away from it instead."""

    acts: Mapping[str, float]
    against: Mapping[str, float]
    source: str


MODES = {
    "precise-style": Mode(
        {"style": 1.0},
        {"layout": 1.0},
        "ComfyUI IPAdapter Plus, 'style transfer precise'; needs guidance",
    ),
    "precise-layout": Mode(
        {"layout": 1.0},
        {"all": 0.1, "layout": 0.0},
        "after ComfyUI IPAdapter Plus, 'composition precise', which weighs otherwise; needs guidance",
    ),
}
"""Modes of any family that has both roles; a role of the family's own is a selection of blocks."""


def of_adapter(widths: Mapping[int, int], cross_dim: int) -> Architecture | None:
    """The family that an adapter was made for, by the widths of its numbered layers; None: none known."""
    for family in ARCHITECTURES:
        numbered = {2 * place + 1: width for place, width in enumerate(family.layers.values())}
        if numbered == widths and family.cross_dim in (None, cross_dim):
            return family
    return None


def match_architecture(layer_names: Iterable[str], cross_dim: int | None = None) -> Architecture:
    """The family whose blocks these layers make up; one of equal cross dim before the first of equal names.

    A network that no table knows comes back without roles: its blocks can still be named.
    """
    blocks = tuple(sorted({block for name in layer_names if (block := Block.of(name))}))
    same = [family for family in ARCHITECTURES if family.blocks == blocks]
    fitting = [family for family in same if family.cross_dim == cross_dim]
    if not same:
        return Architecture("unknown", "This network", cross_dim, blocks)
    return (fitting or same)[0]
