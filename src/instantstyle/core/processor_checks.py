"""Checks of the processors of attention layers: which a styled one can replace, and whether it is still in place."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable
from typing import Any, cast

from torch import nn

from ..errors import StyleError
from .attention.interface import StyledProcessor
from .protocols import Network, is_transformer

REPLACEABLE = (
    "AttnProcessor",
    "AttnProcessor2_0",
    "FusedAttnProcessor2_0",
    "SlicedAttnProcessor",
    "XFormersAttnProcessor",
    "FluxAttnProcessor",
    "JointAttnProcessor2_0",
)
"""Processors of diffusers that compute what a styled one computes without a style, in another way."""

SPLITTING = ("SplitInferenceModule",)
"""Modules of diffusers that run a network inside of them on parts of a batch."""


def check_replaceable(unet: Network, names: Iterable[str]) -> None:
    """Check that layers have processors whose computation a styled processor repeats.

    Args:
        unet: The network.
        names: Names of the processors to replace.

    Raises:
        StyleError: One has not; a layer has got another name, or is inside of a module that splits its rows; or
            diffusers' own IP-Adapter is loaded.
    """
    network = "transformer" if is_transformer(unet) else "unet"
    found = unet.attn_processors
    loaded = sorted({type(each).__name__ for each in found.values() if "IPAdapter" in type(each).__name__})
    if loaded:
        raise StyleError(f"The network already has an IP-Adapter ({loaded[0]}); call pipe.unload_ip_adapter() first.")
    splitting = {
        f"{path}.": type(module).__name__
        for path, module in cast(nn.Module, unet).named_modules()
        if type(module).__name__ in SPLITTING
    }
    for name in names:
        layer = name.removesuffix(".processor")
        if name not in found:
            raise StyleError(
                f"The network no longer has {layer}, since its modules were wrapped or replaced. Make a new "
                "InstantStyle after such changes."
            )
        if wrapper := next((kind for path, kind in splitting.items() if name.startswith(path)), None):
            raise StyleError(
                f"{layer} is inside of a {wrapper}, which splits the rows of a batch, so that the style could act in "
                "wrong rows. Load the pipeline again and leave enable_free_noise_split_inference() out, or choose "
                "blocks without it."
            )
        if not is_plain_processor(found[name]):
            raise StyleError(
                f"{layer} has the processor {type(found[name]).__name__}, which a style would replace. Choose blocks "
                f"without it, or call {network}.set_default_attn_processor() first."
            )


def check_in_place(unet: Network, name: str, attn: Any, processor: StyledProcessor[Any]) -> None:
    """Check that a layer still has the processor of its style.

    Args:
        unet: The network.
        name: Name of the processor.
        attn: The attention module that has got it.
        processor: The processor of the style.

    Raises:
        StyleError: It has another, which the pipeline or the caller has set within the `with` block.
    """
    try:
        found = attention_layer(unet, name).processor
    except AttributeError:
        # A wrapper has moved the layer; `DenoisingState.check_rows` refuses one that splits the batch.
        found = attn.processor
    if found is not processor:
        raise StyleError(
            f"{name.removesuffix('.processor')} has got the processor {type(found).__name__} while it is styled, so "
            "that the style has no effect there. Set processors before, and turn off options of the pipeline that "
            "set them: in LEdits++ use_cross_attn_mask=False and use_intersect_mask=False."
        )


def is_cross_attention(unet: Network, name: str) -> bool:
    """Whether a processor's layer attends to the text: not in the motion modules of AnimateDiff, whose second layers
    attend to the frames too."""
    return (
        name.endswith("attn2.processor")
        and "motion_modules" not in name
        and attention_layer(unet, name).cross_attention_dim is not None
    )


def attention_layer(unet: Network, name: str) -> Any:
    """Return the attention module of a processor."""
    return unet.get_submodule(name.removesuffix(".processor"))


def is_plain_processor(processor: object) -> bool:
    """Whether the processor is a styled one, or a plain one of diffusers itself; a subclass may compute anything."""
    cls = type(processor)
    is_styled = isinstance(processor, StyledProcessor) and cls.__module__.startswith("instantstyle.")
    return is_styled or (cls.__name__ in REPLACEABLE and cls.__module__.startswith("diffusers."))
