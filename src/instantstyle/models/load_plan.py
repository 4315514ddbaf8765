"""Plan what generating would load (files, tensors and memory) without loading it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from ..core.ip_adapter import cross_attention_layers
from ..errors import CheckpointError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint, layer_tensor_names
from ..loaders.state_dict import open_state_dict
from ..unet.architectures import Architecture, match_architecture
from ..unet.blocks import Block, BlockSpec, Layer
from ..unet.probe_file import resolve_block_spec
from .default_dtype import default_dtype
from .load import import_diffusers_class
from .registry import ModelCard
from .required_files import RequiredFile, list_required_files
from .resolve import AdapterSource, ImageEncoderLike, drop_adapter, find_card, resolve_card

DEFAULT_TOKENS = 4
"""Image tokens assumed of an adapter that is not on this machine: those of a base adapter."""

WEIGHTS_SUFFIXES = (".safetensors", ".bin")
"""Suffixes of the files that count as weights."""


@dataclass(frozen=True)
class PlannedFile:
    """A file of weights.

    Attributes:
        file: The file.
        num_bytes: Memory of its weights in the dtype of the plan.
    """

    file: RequiredFile
    num_bytes: int


@dataclass(frozen=True)
class LoadPlan:
    """What would be loaded, where to, and what of the adapter is read.

    Attributes:
        files: Every file, with or without weights.
        weights: The files with weights.
        dtype: The dtype of the model.
        device: The device of the model.
        blocks: Weights of the selected blocks.
        tensors: Names of the adapter's layer tensors that are read, in addition to its projection.
        adapter_bytes: Bytes that are read of the adapter; None if it is not on this machine.
        style_bytes: Memory of the keys and values of one style, conditional and unconditional.
    """

    files: Sequence[RequiredFile]
    weights: Sequence[PlannedFile]
    dtype: torch.dtype
    device: str
    blocks: Mapping[Block, float]
    tensors: Sequence[str]
    adapter_bytes: int | None
    style_bytes: int

    @property
    def num_bytes(self) -> int:
        """Memory of all weights and of one style. Activations are not included."""
        return sum(planned.num_bytes for planned in self.weights) + self.style_bytes


def plan(
    model: str | Path,
    *,
    adapter: AdapterSource | None = None,
    image_encoder: ImageEncoderLike | None = None,
    blocks: BlockSpec = "style",
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    plain: bool = False,
) -> LoadPlan:
    """Plan what `load` and a call would load. Nothing is downloaded, and no weights are read.

    Args:
        model: As in `load`.
        adapter: As in `load`.
        image_encoder: As in `load`.
        blocks: Selection of blocks; may name a probe file.
        device: The device.
        dtype: None for the default of the device.
        plain: Whether adapter and image encoder are left out.

    Raises:
        ModelError: The model cannot be found.
        CheckpointError: The adapter cannot be read, or the network of the model is unknown.
        BlockError: The network has no such block or role.
    """
    card, adapter = resolve_card(str(model), adapter)
    card = drop_adapter(card) if plain else card
    dtype = dtype or default_dtype(device, exact=card.bundled)
    files = list_required_files(card, adapter, image_encoder)
    source = next((file.path for file in files if file.part == "adapter"), adapter)
    checkpoint = None if source is None else IPAdapterCheckpoint.open(source)
    layers, architecture = _find_layers(card, checkpoint)
    selected = architecture.select(resolve_block_spec(blocks, architecture))
    layers = [layer for layer in layers if layer.block in selected]
    tokens = (checkpoint.tokens if checkpoint else None) or DEFAULT_TOKENS
    numbers = [] if plain else [layer.number for layer in layers]
    adapter_bytes = checkpoint.size_of(numbers) if checkpoint else None
    return LoadPlan(
        files=files,
        weights=[_plan_file(file, dtype, adapter_bytes) for file in files if _has_weights(file)],
        dtype=dtype,
        device=device,
        blocks=selected,
        tensors=[name for number in numbers for name in layer_tensor_names(number)],
        adapter_bytes=adapter_bytes,
        # Keys and values, each for the conditional and the unconditional half of a batch.
        style_bytes=sum(2 * 2 * tokens * layer.width * dtype.itemsize for layer in layers),
    )


def find_architecture(model: str | Path) -> Architecture | None:
    """Find the architecture of a model by its card or by the config of its UNet.

    Args:
        model: As in `load`.

    Returns:
        The architecture; None if neither is on this machine.

    Raises:
        ModelError: The model cannot be found.
        CheckpointError: The UNet has no known architecture.
    """
    card = find_card(str(model))
    if card.architecture is not None or not (Path(card.pipeline) / "unet" / "config.json").is_file():
        return card.architecture
    layers = _build_layers(Path(card.pipeline))
    cross_dim = min((layer.cross_dim for layer in layers), default=None)
    return match_architecture((layer.name for layer in layers), cross_dim)


def _find_layers(card: ModelCard, checkpoint: IPAdapterCheckpoint | None) -> tuple[Sequence[Layer], Architecture]:
    """Find layers and architecture in the table of a known architecture, else by the config of the UNet."""
    architecture = card.architecture or (checkpoint.architecture if checkpoint else None)
    adapter_dim = checkpoint.cross_dim if checkpoint else None
    if architecture is not None and architecture.depths:
        cross_dim = architecture.cross_dim or adapter_dim or 0
        layers = [
            Layer(2 * index + 1, name, width, cross_dim)
            for index, (name, width) in enumerate(architecture.layers.items())
        ]
        return layers, architecture
    layers = _build_layers(Path(card.pipeline))
    return layers, architecture or match_architecture((layer.name for layer in layers), adapter_dim)


def _build_layers(folder: Path) -> list[Layer]:
    """Build the UNet of a folder on torch's meta device, which has shapes but no weights."""
    if not (folder / "unet" / "config.json").is_file():
        raise CheckpointError(f"The network of {folder} is unknown: there is no unet/config.json in it.")
    unet_class = import_diffusers_class("UNet2DConditionModel")
    with torch.device("meta"):
        return cross_attention_layers(unet_class.from_config(unet_class.load_config(folder / "unet")))


def _has_weights(file: RequiredFile) -> bool:
    return (file.weights is not None and file.weights.millions > 0) or file.file.endswith(WEIGHTS_SUFFIXES)


def _plan_file(file: RequiredFile, dtype: torch.dtype, adapter_bytes: int | None) -> PlannedFile:
    if file.part == "adapter":
        # Only the tensors that are read stay in memory, in the dtype of the file.
        return PlannedFile(file, adapter_bytes or 0)
    if file.path is None:
        stored = file.weights.bytes_per_parameter if file.weights else dtype.itemsize
        return PlannedFile(file, file.num_bytes // stored * dtype.itemsize)
    parameters = sum(prod(shape) for shape in open_state_dict(file.path).shapes.values())
    return PlannedFile(file, parameters * dtype.itemsize)
