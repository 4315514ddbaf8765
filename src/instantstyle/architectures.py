"""All known families of networks, and that of a network or an adapter, by the names and widths of its layers."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from .dit.families import TRANSFORMERS
from .unet.architectures import UNETS, AdapterInput, Architecture
from .unet.blocks import Block

ARCHITECTURES = (*UNETS, *TRANSFORMERS)

UNKNOWN = "unknown"
"""Name of the architecture of a network that is none of these."""


def match_adapter_architecture(
    widths: Mapping[int, int], cross_dim: int, read: AdapterInput | None = None
) -> Architecture | None:
    """Find the family that an adapter was trained for.

    Args:
        widths: Width of each of the adapter's layers by layer number.
        cross_dim: Width of the adapter's image tokens.
        read: What it reads, by which families with the same layers are distinguished; None if unknown.

    Returns:
        A family with exactly these layers and this width, the first whose published adapters read the same, or else
        the first; None if there is none.
    """
    found: list[Architecture] = []
    for family in ARCHITECTURES:
        if family.numbered_layers == widths and family.cross_dim in (None, cross_dim):
            found.append(family)
    return max(found, key=lambda family: read in family.adapter_inputs, default=None)


def match_architecture(
    layer_names: Iterable[str], cross_dim: int | None = None, *, projects_text: bool = False
) -> Architecture:
    """Find the family of a network.

    Args:
        layer_names: Names of the layers that a style can act in, or of their processors.
        cross_dim: Width of its text tokens; None if unknown.
        projects_text: Whether it projects the text encoder's hidden states, as Kolors does.

    Returns:
        The family with exactly the blocks that contain these layers: preferably one that projects its text alike,
        then one with this `cross_dim`, otherwise the first in `ARCHITECTURES`. If there is none, an architecture
        `unknown`, or `unknown-instantx`, with these blocks and no roles, whose blocks can still be selected by name.
    """
    blocks = tuple(sorted({block for name in layer_names if (block := Block.from_layer_name(name))}))
    candidates = [family for family in ARCHITECTURES if family.blocks == blocks]
    if not candidates:
        found = Architecture(UNKNOWN, "This network", cross_dim, blocks)
        # Styles that are bound for one kind of adapter have no keys that fit the other's.
        return replace(found, name=f"{UNKNOWN}-instantx") if found.has_single_stream else found
    return max(candidates, key=lambda each: (each.projects_text == projects_text, each.cross_dim == cross_dim))
