"""Injection of styles into a UNet for a `with` block."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import combinations
from typing import Any, cast

import torch

from ..errors import ModelError, StyleError
from ..unet.blocks import Block
from ..utils.device import execution_device
from ..utils.text import shorten
from .attention.decoupled import StyleKeyValues
from .attention.interface import AttentionInjection, LayerSettings, StyledProcessor
from .attention.timed import TabulatedKeyValues, TimedKeyValues
from .attention.token_weight import TokenWeight
from .attention.weight import overlap
from .attention_maps import AttentionMaps
from .attention_processor import StyledAttnProcessor
from .denoising_state import DenoisingState
from .guidance_interval import validate_interval
from .pipeline_call import unwrap_compiled
from .processor_checks import check_replaceable
from .protocols import Network, Pipeline, is_transformer, network_of
from .row_layout import RowLayout
from .sd3_attention_processor import SD3AttnProcessor
from .styled_network import Injection, StyledNetwork
from .text_tokens import TextTokens

StyleLayers = Mapping[str, tuple[LayerSettings, ...]]
"""What is injected by the name of the attention processor, such as keys and values of styles."""


@contextmanager
def inject_attention_processors(
    unet: Network,
    styles: StyleLayers,
    *,
    row_layout: RowLayout | None = None,
    scheduler: object = None,
    pipe_scheduler: object = None,
    twins: tuple[float, int] | None = None,
    text_tokens: TextTokens | None = None,
) -> Generator[None]:
    """Install the processors for the `with` block; put the original objects back on exit, also on error.

    The other cross-attention layers get processors without a style, which cache the text's keys and values.

    Args:
        unet: The network, compiled or not.
        styles: Keys and values by processor name; no processor is installed if it is empty.
        row_layout: Parts of a batch where no known pipeline is running; None: all rows are conditional.
        scheduler: The scheduler that the caller has named for a loop of their own, for styles that act at a part of
            the steps.
        pipe_scheduler: The pipeline's, for a loop without a named one.
        twins: Share of the steps in which the second half of the images of each prompt are unstyled twins of the first
            half, and the number of images in that half.
        text_tokens: Tokens of references that follow those of the text; their weights are in `styles`.

    Raises:
        ModelError: `scheduler` has no timesteps.
        StyleError: diffusers' own IP-Adapter is loaded, which passes text and image tokens as a pair; a layer has a
            processor of another kind, which a style would replace; another thread styles the network, or a `using`
            block with a ReduxStyle does.
    """
    check_scheduler(scheduler)
    if not styles and text_tokens is None:
        yield
        return
    check_replaceable(unet, styles)
    # Cast before the first step: a compiled network would be compiled again for tensors that move inside it.
    like = torch.empty(0, dtype=unet.dtype, device=execution_device(unet))
    styles = {name: tuple(style.to(like) for style in layer) for name, layer in styles.items()}
    styled = StyledNetwork.of(unet)
    processors = {name: _make_processor(name, layer, styled.state) for name, layer in styles.items()}
    # The processors hold the cast tensors; the stacked originals can be freed.
    del styles
    injection = Injection(processors, None, row_layout, scheduler, pipe_scheduler, twins, text_tokens)
    with styled.injected(unet, injection):
        yield


def _make_processor(name: str, layer: tuple[LayerSettings, ...], state: DenoisingState) -> StyledProcessor[Any]:
    """Make the processor of one layer, for a UNet's attention or a diffusion transformer's joint attention."""
    block = Block.from_layer_name(name)
    if block is None or block.attention is not None:
        path = name.removesuffix(".processor").removesuffix(".attn2")
        return StyledAttnProcessor([cast(AttentionInjection, each.build()) for each in layer], state, path)
    if isinstance(layer[0], TimedKeyValues | TabulatedKeyValues):
        timed = cast("Sequence[TimedKeyValues | TabulatedKeyValues]", layer)
        return SD3AttnProcessor([each.build() for each in timed], state)
    # Its imports take seconds, and UNets do not need them.
    from .joint_attention_processor import JointAttnProcessor

    return JointAttnProcessor([cast("StyleKeyValues | TokenWeight", each).build() for each in layer], state)


@contextmanager
def record_attention(unet: Network, maps: AttentionMaps) -> Generator[None]:
    """Record the attention of all styles that act in a UNet inside the `with` block; other threads wait.

    Raises:
        StyleError: The network is compiled, whose layers run without Python, or another thread styles it.
    """
    if is_transformer(unet):
        raise StyleError("The attention of a diffusion transformer cannot be recorded.")
    if unwrap_compiled(unet) is not unet:
        raise StyleError("The attention of a compiled network cannot be recorded; use the network before compiling.")
    styled = StyledNetwork.of(unet)
    with styled.generating():
        before, styled.state.maps = styled.state.maps, maps
        try:
            yield
        finally:
            styled.state.maps = before


def check_scheduler(scheduler: object) -> None:
    """Check the scheduler that is named for a caller's own loop.

    Raises:
        ModelError: It has no timesteps.
    """
    if scheduler is not None and not isinstance(getattr(scheduler, "timesteps", None), torch.Tensor):
        raise ModelError(f"scheduler is {shorten(scheduler)}; it must be one of diffusers', with its timesteps set.")


def limit_guidance(
    pipe: Pipeline, interval: object, row_layout: RowLayout | None = None
) -> AbstractContextManager[None]:
    """Apply the pipeline's guidance only within an interval inside the `with` block.

    Args:
        pipe: The pipeline.
        interval: A `GuidanceInterval`; None and (0, 1) change nothing.
        row_layout: Parts of a batch where no known pipeline is running.

    Raises:
        JobError: `interval` is not a pair of shares in order.
        ModelError: The pipeline's batches are not known, or have other parts.
    """
    validated = None if interval is None else validate_interval(pipe, interval, row_layout)
    if validated is None:
        return nullcontext()
    injection = Injection(interval=validated, row_layout=row_layout, pipe_scheduler=pipe.scheduler)
    network = network_of(pipe)
    return StyledNetwork.of(network).injected(network, injection)


def check_fuses(layers: StyleLayers) -> None:
    """Check that no two styles give the text their statistics at the same place and step.

    Raises:
        StyleError: Two styles with `fuse="adain"` act in one layer at the same steps, without masks and frames.
    """
    for name, styles in layers.items():
        adain = [each for each in styles if isinstance(each, StyleKeyValues) and each.fuse == "adain"]
        if any(overlap(one.weight, other.weight) for one, other in combinations(adain, 2)):
            raise StyleError(
                f"Two styles with fuse='adain' act in {name.removesuffix('.attn2.processor')} at the same steps, "
                "where the text gets the statistics of the last one only; give them other blocks, steps or masks, or "
                "fuse='add'."
            )


def merge_style_layers(parts: Iterable[StyleLayers]) -> StyleLayers:
    """Merge the keys and values of several conditionings; in a layer that they share, all act."""
    merged: dict[str, tuple[LayerSettings, ...]] = {}
    for part in parts:
        for name, styles in part.items():
            merged[name] = (*merged.get(name, ()), *styles)
    return merged
