"""The layers of a network that adapters have keys and values for, and the family that these belong to."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from typing import Any, cast

from ..architectures import match_architecture
from ..dit.layers import ONE_STREAM, joint_attention_layers, timed_layers
from ..unet.architectures import Architecture
from ..unet.blocks import Layer
from .processor_checks import is_cross_attention
from .protocols import Network, is_transformer


def list_layers(network: Network, *, all_blocks: bool = False) -> list[Layer]:
    """List the layers of a network that adapters have keys and values for, in the order by which they number them.

    Args:
        network: A UNet or a diffusion transformer.
        all_blocks: Whether the adapter is one for all blocks of a transformer, as InstantX's.
    """
    if not is_transformer(network):
        return cross_attention_layers(network)
    config = network.config
    width = config.num_attention_heads * config.attention_head_dim
    if not hasattr(network, ONE_STREAM):
        return [] if all_blocks else timed_layers(network.attn_processors, width)
    return joint_attention_layers(
        network.attn_processors, width, config.attention_head_dim, config.joint_attention_dim, all_blocks=all_blocks
    )


def cross_attention_layers(unet: Network) -> list[Layer]:
    """List a UNet's cross-attention layers in diffusers' order (down, up, mid), by which adapters number tensors.

    The motion modules of AnimateDiff are neither listed nor counted: adapters are trained without them.
    """
    layers: list[Layer] = []
    names = [name for name in unet.attn_processors if "motion_modules" not in name]
    for number, name in enumerate(names):
        if is_cross_attention(unet, name):
            attn = cast(Any, unet.get_submodule(name.removesuffix(".processor")))
            layers.append(Layer(number, name, attn.inner_dim, attn.cross_attention_dim))
    return layers


def projects_text(config: Any) -> bool:
    """Whether a UNet projects the hidden states of its text encoder to the width that its layers read, as Kolors does.

    Args:
        config: The UNet's config.
    """
    return getattr(config, "encoder_hid_dim_type", None) == "text_proj"


def match_layers(layers: Sequence[Layer], unet: Network | None = None) -> Architecture:
    """Find the family of a network by its layers.

    Args:
        layers: The layers, as `list_layers` returns them.
        unet: The network, by whose config families with the same layers are distinguished; None for transformers.
    """
    names, widths = [layer.name for layer in layers], {layer.cross_dim for layer in layers}
    projects = unet is not None and projects_text(unet.config)
    found = match_architecture(names, min(widths, default=None), projects_text=projects)
    return found.with_layers(names)
