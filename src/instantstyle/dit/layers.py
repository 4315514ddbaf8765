"""The layers of a diffusion transformer that a style acts in."""

from collections.abc import Iterable

from ..unet.blocks import TRANSFORMER_STAGES, Block, Layer

TWO_STREAMS, ONE_STREAM = TRANSFORMER_STAGES
"""Stages of the blocks in which text and image are two streams, each with projections of its own, and one."""


def timed_layers(processors: Iterable[str], width: int) -> list[Layer]:
    """List the joint attentions of SD3.5 that adapters reach (huggingface.co/InstantX/SD3.5-Large-IP-Adapter).

    Args:
        processors: Names of the network's attention processors, or of their layers. The second attentions of
            SD3.5-Medium, which see the image alone, are left out.
        width: Width of the image stream, which is that of the image tokens.
    """
    found = [(block, name) for name in processors if (block := Block.from_layer_name(name))]
    names = [name for _, name in sorted(found) if name.removesuffix(".processor").endswith(".attn")]
    return [Layer(number, name, width, width, is_timed=True) for number, name in enumerate(names)]


def joint_attention_layers(
    processors: Iterable[str], width: int, head_width: int, cross_dim: int, *, all_blocks: bool
) -> list[Layer]:
    """List the joint attentions that adapters reach, in the order by which they number them.

    XLabs' adapters (github.com/XLabs-AI/x-flux) reach the blocks with two streams, have biases, and add their result
    to the image stream. InstantX's (huggingface.co/InstantX/FLUX.1-dev-IP-Adapter) reach all blocks, norm keys and
    values by heads, and add their result to that of the attention.

    Args:
        processors: Names of the network's attention processors.
        width: Width of the image stream.
        head_width: Width of an attention's heads.
        cross_dim: Width of the image tokens that an adapter makes.
        all_blocks: Whether the adapter is one for all blocks, as InstantX's.
    """
    stages = TRANSFORMER_STAGES if all_blocks else (TWO_STREAMS,)
    found = [(block, name) for name in processors if (block := Block.from_layer_name(name))]
    names = [name for block, name in sorted(found) if block.stage in stages]
    if all_blocks:
        return [Layer(number, name, width, cross_dim, normed_width=head_width) for number, name in enumerate(names)]
    return [
        Layer(number, name, width, cross_dim, has_bias=True, placement="stream") for number, name in enumerate(names)
    ]
