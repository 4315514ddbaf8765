"""The UNet of a model by its card or its config, without its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ..architectures import match_architecture
from ..core.ip_adapter import cross_attention_layers, projects_text
from ..errors import CheckpointError
from ..unet.architectures import Architecture
from ..unet.blocks import Layer
from ..utils.hub import find_cached_file
from ..utils.text import one_line
from .registry import ModelCard
from .resolve import find_card

UNET_CONFIG = "unet/config.json"


def find_architecture(model: str | Path) -> Architecture | None:
    """Find the architecture of a model by its card or by the config of its UNet.

    Args:
        model: As in `load`.

    Returns:
        The architecture; None if neither is on this machine.

    Raises:
        ModelError: The model cannot be found.
        CheckpointError: The config of the UNet cannot be read.
    """
    card = find_card(str(model))
    if card.architecture is not None:
        return card.architecture
    network = find_network(card)
    return None if network is None else network.architecture


@dataclass(frozen=True)
class Network:
    """A UNet without its weights.

    Attributes:
        layers: Its cross-attention layers.
        architecture: Its family.
    """

    layers: Sequence[Layer]
    architecture: Architecture


def find_network(card: ModelCard) -> Network | None:
    """Find the UNet of a model.

    Args:
        card: The model.

    Returns:
        The network, from the table of the card's architecture or from the config of the UNet; None if neither
        is on this machine.

    Raises:
        CheckpointError: The config of the UNet cannot be read.
    """
    if card.architecture is not None and card.architecture.depths and card.architecture.cross_dim:
        return Network(list_table_layers(card.architecture), card.architecture)
    if Path(card.pipeline).exists():
        config = Path(card.pipeline) / UNET_CONFIG
        return _build_network(config, card) if config.is_file() else None
    config = find_cached_file(card.pipeline, UNET_CONFIG, card.pipeline_revision)
    return None if config is None else _build_network(config, card)


def list_table_layers(architecture: Architecture, cross_dim: int | None = None) -> list[Layer]:
    """List the layers of an architecture by its table.

    Args:
        architecture: An architecture with `depths`.
        cross_dim: Width of the text tokens where the table has none; None stands for 0.
    """
    width_of_tokens = architecture.cross_dim or cross_dim or 0
    return [
        Layer(2 * index + 1, name, width, width_of_tokens)
        for index, (name, width) in enumerate(architecture.layers.items())
    ]


def import_diffusers_class(name: str) -> Any:
    """Import a class of diffusers by name: type checkers do not see its lazy exports."""
    return getattr(import_module("diffusers"), name)


def _build_network(config: Path, card: ModelCard) -> Network:
    """Build a UNet on torch's meta device, which has shapes but no weights."""
    unet_class = import_diffusers_class("UNet2DConditionModel")
    try:
        with torch.device("meta"):
            unet = unet_class.from_config(unet_class.load_config(config))
            layers = cross_attention_layers(unet)
    # What diffusers raises for damaged JSON and for sizes that do not fit together.
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"{config} does not describe a UNet ({one_line(error)}); download it again.") from None
    smallest, names = min((layer.cross_dim for layer in layers), default=None), [layer.name for layer in layers]
    found = card.architecture or match_architecture(names, smallest, projects_text=projects_text(unet.config))
    return Network(layers, found.with_layers(names))
