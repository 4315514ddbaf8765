"""`instantstyle blocks sdxl`: the blocks of a network and their roles."""

from typing import Annotated

import typer


def run(model: Annotated[str, typer.Argument(help="A network architecture: sdxl, sd15 or mini.")]) -> None:
    """List the blocks of a network in the order in which they run, with their roles."""
    from ..errors import ModelError, suggest_nearest
    from ..unet.architectures import ARCHITECTURES

    known = {architecture.name: architecture for architecture in ARCHITECTURES}
    if model not in known:
        nearest = suggest_nearest(model, [*known])
        raise ModelError(f"No blocks are listed for {model}; there are {', '.join(known)}.{nearest}")
    architecture = known[model]
    for block in architecture.blocks:
        roles = ", ".join(role for role, blocks in architecture.roles.items() if block in blocks)
        print(f"{block!s:<28}{roles}".rstrip())
    for role, source in architecture.sources.items():
        print(f"# {role}: {source}")
