"""The layers of a diffusion transformer that a style acts in."""

from collections.abc import Iterable

from ..unet.blocks import Block, Layer

TWO_STREAMS = "transformer_blocks"
"""Stage of the blocks in which text and image are two streams, each with projections of its own."""


def joint_attention_layers(processors: Iterable[str], width: int, cross_dim: int) -> list[Layer]:
    """List the joint attentions of the blocks with two streams, in the order by which adapters number them.

    Args:
        processors: Names of the network's attention processors.
        width: Width of the image stream.
        cross_dim: Width of the image tokens that an adapter makes.
    """
    found = [(Block.from_layer_name(name), name) for name in processors]
    names = [name for block, name in found if block is not None and block.stage == TWO_STREAMS]
    return [Layer(number, name, width, cross_dim, has_bias=True) for number, name in enumerate(names)]
