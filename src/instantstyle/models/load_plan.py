"""What a drawing would load, without loading it: files, tensors, and the memory that their weights take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from ..core.ip_adapter import cross_attention_layers
from ..errors import CheckpointError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint, layer_names
from ..loaders.state_dict import open_state_dict
from ..unet.architectures import Architecture, match_architecture
from ..unet.blocks import Block, Layer, Spec
from .default_dtype import default_dtype
from .load import diffusers_class
from .registry import Card
from .required_files import Item, inventory
from .resolve import card_for, resolved, without_adapter

STYLE_TOKENS = 4
"""Of an adapter that is not here to be asked: a base adapter's."""

WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True)
class Part:
    """One file of weights: how large it is on disk and, in the run's dtype, in memory."""

    item: Item
    memory: int


@dataclass(frozen=True)
class Plan:
    """What would be loaded, where to, and what of the adapter is read."""

    items: Sequence[Item]
    """Every file, small ones included."""
    parts: Sequence[Part]
    """Those that hold weights."""
    dtype: torch.dtype
    device: str
    blocks: Mapping[Block, float]
    tensors: Sequence[str]
    """Names of the adapter's layer tensors that are read; its projection is read beside them."""
    adapter_bytes: int | None
    """Of the adapter's file that are read; None where it is not here to be measured."""
    style_bytes: int
    """Keys and values of one style, both halves of a guided batch."""

    @property
    def memory(self) -> int:
        """Bytes of all weights, and of a style; what the drawing itself takes comes on top."""
        return sum(part.memory for part in self.parts) + self.style_bytes


def plan(
    model: str | Path,
    *,
    adapter: Any = None,
    image_encoder: Any = None,
    blocks: Spec = "style",
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    plain: bool = False,
) -> Plan:
    """As `load` and a call would have it; nothing is fetched, and no weight is read."""
    card, adapter = resolved(str(model), adapter)
    card = without_adapter(card) if plain else card
    dtype = dtype or default_dtype(device, exact=card.bundled)
    items = inventory(card, adapter, image_encoder)
    file = _adapter_file(items, adapter)
    layers, architecture = _network(card, file)
    chosen = architecture.select(blocks)
    reached = [layer for layer in layers if layer.block in chosen]
    tokens = STYLE_TOKENS if file is None else file.tokens or STYLE_TOKENS
    numbers = [] if plain else [layer.number for layer in reached]
    read = file.size_of(numbers) if file else None
    return Plan(
        items=items,
        parts=[_part(item, dtype, read) for item in items if _weighs(item)],
        dtype=dtype,
        device=device,
        blocks=chosen,
        tensors=[name for number in numbers for name in layer_names(number)],
        adapter_bytes=read,
        style_bytes=sum(2 * 2 * tokens * layer.width * dtype.itemsize for layer in reached),
    )


def architecture_of(model: str | Path) -> Architecture | None:
    """The family that a model is of, by its card or its network's settings; None where neither is here."""
    card = card_for(str(model))
    if card.architecture is not None or not (Path(card.pipeline) / "unet" / "config.json").is_file():
        return card.architecture
    layers = _layers_in(Path(card.pipeline))
    return match_architecture(
        (layer.name for layer in layers), min((layer.cross_dim for layer in layers), default=None)
    )


def _adapter_file(items: Sequence[Item], adapter: Any) -> IPAdapterCheckpoint | None:
    found = next((item.path for item in items if item.part == "adapter"), adapter)
    return None if found is None else IPAdapterCheckpoint.open(found)


def _network(card: Card, file: IPAdapterCheckpoint | None) -> tuple[Sequence[Layer], Architecture]:
    """Layers and blocks by the tables where the family is known, else by the network's own settings."""
    family = card.architecture or (file.base if file else None)
    if family is not None and family.depths:
        return _tabled(family, file), family
    layers = _layers_in(Path(card.pipeline))
    return layers, family or match_architecture(
        (layer.name for layer in layers), file.cross_dim if file else None
    )


def _tabled(family: Architecture, file: IPAdapterCheckpoint | None) -> list[Layer]:
    cross_dim = family.cross_dim or (file.cross_dim if file else 0)
    return [
        Layer(2 * place + 1, name, width, cross_dim)
        for place, (name, width) in enumerate(family.layers.items())
    ]


def _layers_in(folder: Path) -> list[Layer]:
    """Of a network without weights: torch's meta device makes shapes and nothing else."""
    if not (folder / "unet" / "config.json").is_file():
        raise CheckpointError(
            f"What network {folder} has cannot be said: there is no unet/config.json in it."
        )
    network = diffusers_class("UNet2DConditionModel")
    with torch.device("meta"):
        return cross_attention_layers(network.from_config(network.load_config(folder / "unet")))


def _weighs(item: Item) -> bool:
    return (item.weights is not None and item.weights.millions > 0) or item.file.endswith(WEIGHTS)


def _part(item: Item, dtype: torch.dtype, read: int | None) -> Part:
    if item.part == "adapter":
        # Of its file only these tensors stay in memory, in the dtype that they have.
        return Part(item, read or 0)
    if item.path is None:
        width = item.weights.width if item.weights else dtype.itemsize
        return Part(item, item.size // width * dtype.itemsize)
    return Part(item, _numbers_in(item.path) * dtype.itemsize)


def _numbers_in(path: Path) -> int:
    """How many numbers a file of weights holds, by its header."""
    return sum(prod(shape) for shape in open_state_dict(path).shapes.values())
