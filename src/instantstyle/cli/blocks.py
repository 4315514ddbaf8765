"""`instantstyle blocks sdxl`: which blocks a network has and what they carry."""

from typing import Annotated

import typer


def run(model: Annotated[str, typer.Argument(help="A family of networks: sdxl, sd15 or mini.")]) -> None:
    """List the blocks of a network in the order in which they run, with their roles."""
    from ..errors import ModelError, did_you_mean
    from ..unet.architectures import ARCHITECTURES

    known = {architecture.name: architecture for architecture in ARCHITECTURES}
    if model not in known:
        nearest = did_you_mean(model, [*known])
        raise ModelError(f"No blocks are listed for {model}; there are {', '.join(known)}.{nearest}")
    architecture = known[model]
    for block in architecture.blocks:
        carried = ", ".join(role for role, carriers in architecture.roles.items() if block in carriers)
        print(f"{block!s:<28}{carried}".rstrip())
    for role, source in architecture.sources.items():
        print(f"# {role}: {source}")
