"""Styles through adapters whose keys and values change with the step, as SD3.5's: computed, or tabulated."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..recipe_types import WORDLESS
from ..unet.blocks import Layer
from .attention.timed import TabulatedKeyValues, TimedKeyValues, TimedTokens
from .attention.weight import Weight
from .bound_style import BoundKeyValues, KeyValue
from .conditioning import StyleConditioning
from .injection import StyleLayers
from .style import Style
from .style_rows import StyleRows, stack_rows

MakeWeight = Callable[[Layer], Weight]


def timed_layers(
    checkpoint: IPAdapterCheckpoint,
    projection: Mapping[str, Tensor],
    conditioning: StyleConditioning,
    layers: Sequence[Layer],
    make_weight: MakeWeight,
) -> StyleLayers:
    """Return what keys and values are computed from at each step.

    Args:
        checkpoint: The adapter.
        projection: Weights of its resampler.
        conditioning: The styles and their settings.
        layers: The layers of the chosen blocks.
        make_weight: Makes the weight of a layer.

    Returns:
        By processor name one `TimedKeyValues`.

    Raises:
        StyleError: A style is cleaned in its keys and values, which are the same at all steps.
    """
    negative = conditioning.negative_style
    if cleaned := next((style for style in conditioning.all_styles if style.removal in WORDLESS), None):
        raise StyleError(
            f"{cleaned.name} uses removal={cleaned.removal!r}, which changes keys and values that are the same at "
            "all steps; those of this adapter change with the step. Use removal='subtract' with a picture."
        )
    embeds = [style.embeddings().float() for style in conditioning.styles]
    # Without a reference features are zeros, as in diffusers.
    halves = [torch.stack([torch.zeros_like(each), each]).flatten(1, 2) for each in embeds]
    other = None if negative is None else negative.embeddings().float()
    other = None if other is None else torch.stack([other, other]).flatten(1, 2)
    features = stack_rows(halves, other, conditioning.unconditional).unflatten(2, embeds[0].shape[:2])
    tokens, unconditional = TimedTokens(projection, features), conditioning.unconditional
    return {
        layer.name: (
            TimedKeyValues(tokens, checkpoint.read_timed_layer(layer.number), make_weight(layer), unconditional),
        )
        for layer in layers
    }


def tabulated_layers(
    conditioning: StyleConditioning,
    tables: Sequence[BoundKeyValues],
    layers: Sequence[Layer],
    make_weight: MakeWeight,
) -> StyleLayers:
    """Return keys and values at the timesteps for which styles are bound.

    Args:
        conditioning: The styles and their settings.
        tables: What its styles are bound with; the negative style is the last.
        layers: The layers of the chosen blocks.
        make_weight: Makes the weight of a layer.

    Returns:
        By processor name one `TabulatedKeyValues`.

    Raises:
        StyleError: The styles are bound for different steps, or not for these layers.
    """
    for table, style in zip(tables, conditioning.all_styles, strict=True):
        table.check_covers(layers, style.label)
    if len({table.timesteps for table in tables}) > 1:
        raise StyleError("Styles of one call are bound for different steps; bind them for the same.")
    negative = None if conditioning.negative_style is None else tables[-1]
    rows = StyleRows(tables[: len(conditioning.styles)], negative, conditioning.unconditional, ())
    return {
        layer.name: (
            TabulatedKeyValues(
                tables[0].timesteps,
                rows.stack(0, layer.key),
                rows.stack(1, layer.key),
                rows.norms(layer.key),
                make_weight(layer),
                conditioning.unconditional,
            ),
        )
        for layer in layers
    }


@torch.no_grad()
def tabulate(
    checkpoint: IPAdapterCheckpoint,
    projection: Mapping[str, Tensor],
    style: Style,
    layers: Sequence[Layer],
    timesteps: Sequence[float],
) -> tuple[dict[str, KeyValue], dict[str, Float[Tensor, "2 head"]]]:
    """Compute the keys and values of a style at each timestep.

    Args:
        checkpoint: The adapter.
        projection: Weights of its resampler.
        style: The style, whose embeddings are used though it may be bound.
        layers: The layers.
        timesteps: Timesteps in 0..1000.

    Returns:
        By the layers' keys: keys and values, those of the timesteps one after the other, and the weights of the norms.

    Raises:
        StyleError: There are no timesteps.
    """
    if not timesteps:
        raise StyleError(
            "Keys and values of this adapter change with the step; bind a style with the timesteps of a schedule."
        )
    conditioning = StyleConditioning(replace(style, bindings=()), "all")
    found = timed_layers(checkpoint, projection, conditioning, layers, lambda _: Weight(torch.tensor(1.0)))
    timed = {layer.key: cast(TimedKeyValues, found[layer.name][0]) for layer in layers}
    pairs: dict[str, list[KeyValue]] = {key: [] for key in timed}
    # The resampler runs once for each timestep: tokens of the last one are kept.
    for timestep in timesteps:
        for key, each in timed.items():
            keys, values = each.at(timestep)
            pairs[key].append((keys[:, 0], values[:, 0]))
    tables: dict[str, KeyValue] = {
        key: (torch.cat([pair[0] for pair in each], dim=1), torch.cat([pair[1] for pair in each], dim=1))
        for key, each in pairs.items()
    }
    return tables, {key: torch.stack(each.norms) for key, each in timed.items()}
