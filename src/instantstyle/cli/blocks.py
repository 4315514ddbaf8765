"""`instantstyle blocks sdxl`: the blocks of a network and their roles."""

from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .console import print_json

if TYPE_CHECKING:
    from ..unet.blocks import BlockOrLayer, BlockWeights

EXAMPLES = ("instantstyle blocks sdxl", "instantstyle blocks mini --json")


def run(
    model: Annotated[str, typer.Argument(help="A network architecture: sdxl, sd15 or mini; or a model's name.")],
    json: options.Json = False,
) -> None:
    """List the blocks of a network in the order in which they run, with their numbers of layers and their roles.

    --blocks selects by role or by name, several joined by +: style+layout, or
    up_blocks.0.attentions.1+mid_block.attentions.0. A pattern such as up_blocks.0.* selects all that match, and
    up_blocks.0.attentions.1.transformer_blocks.2-5 layers inside a block. Names of weights, such as ease-in, select
    blocks with the weights that are stated beside them. Modes, such as precise-style, act in both halves of guidance.
    """
    from ..architectures import ARCHITECTURES
    from ..errors import ModelError, suggest_nearest
    from ..unet.modes import MODES

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
                "layers": {str(block): count for block, count in architecture.layer_counts.items()},
                "roles": {role: [str(block) for block in blocks] for role, blocks in architecture.roles.items()},
                "weights": {
                    name: {str(block): weight for block, weight in weights.items()}
                    for name, weights in architecture.weights.items()
                },
                "modes": {name: MODES[name].source for name in architecture.modes},
                "sources": {**architecture.sources, **architecture.weight_sources},
            }
        )
        return
    width = max(28, *(len(str(block)) + 1 for block in architecture.blocks))
    for block in architecture.blocks:
        roles = ", ".join(role for role, blocks in architecture.roles.items() if block in blocks)
        count = architecture.layer_counts[block]
        layers = f"{count} layer" if count == 1 else f"{count} layers"
        print(f"{block!s:<{width}}{layers:<11}{roles}".rstrip())
    for name, source in {**architecture.sources, **architecture.weight_sources}.items():
        weights = _format_weights(architecture.weights[name]) if name in architecture.tables else ""
        print(f"# {name}: {f'{weights} ({source})' if weights else source}")
    print("# all: all of these blocks")
    if {"style", "layout"} <= architecture.roles.keys():
        print("# style+layout: the blocks of both roles; any names can be joined")
    for name in architecture.modes:
        print(f"# {name}: {MODES[name].source}")


def _format_weights(weights: "BlockWeights") -> str:
    """Format weights as `0.25 down_blocks.2.attentions.0; 1 down_blocks.2.attentions.1`."""
    from ..unet.blocks import format_blocks

    by_weight: dict[str, list[BlockOrLayer]] = {}
    for block, weight in weights.items():
        by_weight.setdefault(f"{weight:.3g}", []).append(block)
    return "; ".join(f"{weight} {format_blocks(blocks)}" for weight, blocks in by_weight.items())
