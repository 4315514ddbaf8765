"""`instantstyle blocks sdxl`: the blocks of a network and their roles."""

from typing import Annotated

import typer

from . import options
from .console import print_json

EXAMPLES = ("instantstyle blocks sdxl", "instantstyle blocks mini --json")


def run(
    model: Annotated[str, typer.Argument(help="A network architecture: sdxl, sd15 or mini; or a model's name.")],
    json: options.Json = False,
) -> None:
    """List the blocks of a network in the order in which they run, with their roles.

    --blocks selects by role or by name, several joined by +: style+layout, or
    up_blocks.0.attentions.1+mid_block.attentions.0. A pattern such as up_blocks.0.* selects all that match.
    """
    from ..errors import ModelError, suggest_nearest
    from ..unet.architectures import ARCHITECTURES

    known = {architecture.name: architecture for architecture in ARCHITECTURES}
    # Further models of a family have its name in front: sdxl-turbo.
    name = model if model in known else model.partition("-")[0]
    if name not in known:
        nearest = suggest_nearest(model, [*known])
        raise ModelError(f"No blocks are listed for {model}; there are {', '.join(known)}.{nearest}")
    architecture = known[name]
    if json:
        print_json(
            {
                "architecture": architecture.name,
                "blocks": [str(block) for block in architecture.blocks],
                "roles": {role: [str(block) for block in blocks] for role, blocks in architecture.roles.items()},
                "sources": dict(architecture.sources),
            }
        )
        return
    for block in architecture.blocks:
        roles = ", ".join(role for role, blocks in architecture.roles.items() if block in blocks)
        print(f"{block!s:<28}{roles}".rstrip())
    for role, source in architecture.sources.items():
        print(f"# {role}: {source}")
