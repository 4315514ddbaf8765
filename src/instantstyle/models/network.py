"""The UNet of a model by its card or its config, without its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch

from ..architectures import match_architecture
from ..core.adapter_layers import list_layers, projects_text
from ..dit.families import TRANSFORMERS
from ..dit.layers import joint_attention_layers, timed_layers
from ..errors import CheckpointError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..unet.architectures import Architecture
from ..unet.blocks import Layer
from ..utils.file_stamp import Stamp, file_stamp
from ..utils.hub import find_cached_file
from ..utils.text import one_line
from ..utils.text_file import parse_json
from .default_dtype import default_dtype
from .registry import ModelCard
from .resolve import find_card

UNET_CONFIG = "unet/config.json"
NETWORK_CONFIGS = (UNET_CONFIG, "transformer/config.json")

TRANSFORMER_CLASSES = ("FluxTransformer2DModel", "ChromaTransformer2DModel", "SD3Transformer2DModel")
"""diffusers' classes of the transformers that can be styled."""


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


def find_network(
    card: ModelCard, checkpoint: IPAdapterCheckpoint | None = None, *, all_blocks: bool | None = None
) -> Network | None:
    """Find the UNet or the transformer of a model.

    Args:
        card: The model.
        checkpoint: The adapter, by which the layers of a transformer are chosen; None as the card's own.
        all_blocks: Whether these are the layers of all blocks, where the adapter is not to choose them.

    Returns:
        The network, from the table of the card's architecture or from the config of the UNet; None if neither
        is on this machine.

    Raises:
        CheckpointError: The config of the network cannot be read.
    """
    own, trained_for = card.architecture, card.adapter_architecture
    if all_blocks is None and checkpoint is not None:
        all_blocks = checkpoint.reaches_all_blocks
    elif all_blocks is None and trained_for is not None:
        all_blocks = trained_for.has_single_stream
    if own is not None and own.is_transformer and not own.is_timed and all_blocks not in (None, own.has_single_stream):
        own = next(family for family in TRANSFORMERS if family.has_single_stream == all_blocks)
    if own is not None and own.depths and own.cross_dim:
        return Network(list_table_layers(own), own)
    config = find_network_config(card)
    name = None if config is None else find_network_class(config)
    return None if config is None or name is None else _build_network(config, name, card, all_blocks or False)


def find_network_config(card: ModelCard) -> Path | None:
    """Find the config of a model's network; None if it is not on this machine. That of a single file is its base's."""
    return find_config(card, NETWORK_CONFIGS)


def find_config(card: ModelCard, names: Sequence[str]) -> Path | None:
    """Find the first of several files of a model's folder or repository; None if none is on this machine."""
    base = card.base or card
    if Path(base.pipeline).exists():
        configs = [Path(base.pipeline) / name for name in names]
    else:
        found = [find_cached_file(base.pipeline, name, base.pipeline_revision) for name in names]
        configs = [config for config in found if config is not None]
    return next(filter(Path.is_file, configs), None)


def choose_dtype(card: ModelCard, device: str | torch.device | None) -> torch.dtype:
    """Choose the dtype in which `load` loads a model if the caller gives none.

    Args:
        card: The model.
        device: A torch device; None is the CPU.

    Returns:
        The dtype of `default_dtype` for the network's family. A model that is not on this machine, and not in the
        registry, counts as a UNet.

    Raises:
        CheckpointError: The config of the network cannot be read.
    """
    network = find_network(card)
    needs_range = network is not None and network.architecture.is_transformer
    return default_dtype(device, exact=card.bundled, needs_range=needs_range)


def list_table_layers(architecture: Architecture, cross_dim: int | None = None) -> list[Layer]:
    """List the layers of an architecture by its table.

    Args:
        architecture: An architecture with `depths`.
        cross_dim: Width of the text tokens where the table has none; None stands for 0.
    """
    width_of_tokens = architecture.cross_dim or cross_dim or 0
    if architecture.is_timed:
        return timed_layers(architecture.layers, architecture.cross_dim or 0)
    if architecture.is_transformer:
        widths, heads = [width for _, width in architecture.depths.values()], architecture.head_width or 0
        return joint_attention_layers(
            architecture.layers, widths[0], heads, width_of_tokens, all_blocks=architecture.has_single_stream
        )
    numbered = zip(architecture.layers, architecture.numbered_layers.items(), strict=True)
    return [Layer(number, name, width, width_of_tokens) for name, (number, width) in numbered]


def find_network_class(config: Path) -> str | None:
    """Return diffusers' class of a network by its config; None for a transformer that cannot be styled."""
    if config.parent.name == "unet":
        return "UNet2DConditionModel"
    try:
        content = parse_json(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{config} cannot be read ({one_line(error)}); download it again.") from None
    name = cast("dict[str, object]", content).get("_class_name") if isinstance(content, dict) else None
    return name if isinstance(name, str) and name in TRANSFORMER_CLASSES else None


def import_diffusers_class(name: str) -> Any:
    """Import a class of diffusers by name: type checkers do not see its lazy exports."""
    return getattr(import_module("diffusers"), name)


def _build_network(config: Path, class_name: str, card: ModelCard, all_blocks: bool) -> Network:
    """Describe the network of a config: a UNet or a transformer."""
    try:
        layers, projects = _read_layers(config, file_stamp(config), class_name, all_blocks)
    # What diffusers raises for damaged JSON and for sizes that do not fit together.
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        what = "UNet" if config.parent.name == "unet" else class_name
        raise CheckpointError(f"{config} does not describe a {what} ({one_line(error)}); download it again.") from None
    smallest, names = min((layer.cross_dim for layer in layers), default=None), [layer.name for layer in layers]
    found = card.architecture or match_architecture(names, smallest, projects_text=projects)
    return Network([*layers], found.with_layers(names))


# Checks before loading ask several times for the same network, and building SDXL's takes a second.
@lru_cache(maxsize=16)
def _read_layers(config: Path, stamp: Stamp, class_name: str, all_blocks: bool) -> tuple[tuple[Layer, ...], bool]:
    """List the layers of a config's network.

    Args:
        config: The config's file.
        stamp: Time of its last change in ns, and its size: a changed file is read again.
        class_name: The network's class in diffusers.
        all_blocks: As in `list_layers`.

    Returns:
        The layers, and whether the network projects the text.
    """
    network = build_meta_network(config, class_name)
    return tuple(list_layers(network, all_blocks=all_blocks)), projects_text(network.config)


def build_meta_network(config: Path, class_name: str) -> Any:
    """Build the network of a config on torch's meta device, which has shapes but no weights."""
    network_class = import_diffusers_class(class_name)
    with torch.device("meta"):
        return network_class.from_config(network_class.load_config(config))
