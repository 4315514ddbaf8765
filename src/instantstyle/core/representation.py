"""`InstantStyle` as text and, for notebooks, as a table of its blocks."""

from html import escape

from ..unet.architectures import Architecture
from ..unet.blocks import format_blocks
from .protocols import Pipeline, network_of


def describe(pipe: Pipeline, architecture: Architecture, model: str | None) -> str:
    """Describe a styled pipeline in one line: class, model, device and dtype, and the blocks of each role.

    Args:
        pipe: The pipeline.
        architecture: Blocks and roles of its network.
        model: Name of the model; None is that of the architecture.
    """
    roles = (f"{role} {format_blocks(blocks)}" for role, blocks in architecture.roles.items())
    place = f"{pipe.device} {str(network_of(pipe).dtype).removeprefix('torch.')}"
    return f"InstantStyle({', '.join([type(pipe).__name__, model or architecture.title, place, *roles])})"


def tabulate_roles(title: str, architecture: Architecture) -> str:
    """Return an HTML table of all blocks with their roles."""
    roles = architecture.roles.items()
    played = ((block, [role for role, members in roles if block in members]) for block in architecture.blocks)
    rows = (f"<tr><td>{block}</td><td>{', '.join(names)}</td></tr>" for block, names in played)
    return f"<table><caption>{escape(title)}</caption>{''.join(rows)}</table>"
