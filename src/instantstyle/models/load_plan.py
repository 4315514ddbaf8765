"""Plan what generating would load (files, tensors and memory) without loading it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import torch

from ..errors import CheckpointError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint, list_layer_tensors
from ..loaders.state_dict import open_state_dict
from ..loaders.weight_files import COMPONENT_WEIGHTS, FINDERS, WeightFile, is_hub_id
from ..recipe_types import Lora, Reference
from ..unet.architectures import Architecture
from ..unet.blocks import BlockSpec, BlockWeights, Layer, find_weight
from ..unet.probe_file import resolve_block_spec
from ..utils.hub import find_cached_file
from .conflicts import find_conflicts, find_network_conflicts
from .file_kinds import check_file_kind
from .network import UNET_CONFIG, choose_dtype, find_network, list_table_layers
from .pipeline_files import IMAGE_ENCODER
from .registry import ModelCard
from .required_files import RequiredFile, list_required_files
from .resolve import AdapterSource, ImageEncoderLike, drop_adapter, resolve_card

DEFAULT_TOKENS = 4
"""Image tokens assumed of an adapter that is not on this machine: those of a base adapter."""

WEIGHTS_SUFFIXES = (".safetensors", ".bin", ".ckpt")
"""Suffixes of the files that count as weights."""

CHANGED_PARTS: Mapping[str, str] = {"loras": "lora", "vae": "replacing vae", "motion_adapter": "motion adapter"}
"""Part of a plan by the field of a recipe that changes a loaded model."""


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
        blocks: Weights of the selected blocks, or of layers inside them.
        tensors: Names of the adapter's layer tensors that are read, in addition to its projection.
        adapter_bytes: Bytes that are read of the adapter; None if it is not on this machine.
        style_bytes: Memory of the keys and values of one style, conditional and unconditional.
        second: The same with the second adapter in place of the first; None for one adapter.
    """

    files: Sequence[RequiredFile]
    weights: Sequence[PlannedFile]
    dtype: torch.dtype
    device: str
    blocks: BlockWeights
    tensors: Sequence[str]
    adapter_bytes: int | None
    style_bytes: int
    second: "LoadPlan | None" = None

    @property
    def num_bytes(self) -> int:
        """Memory of all weights, and of one style of each adapter. Activations are not included."""
        styles = self.style_bytes + (self.second.style_bytes if self.second else 0)
        return sum(planned.num_bytes for planned in (*self.weights, *self.second_weights)) + styles

    @property
    def second_files(self) -> Sequence[RequiredFile]:
        """The files of the second adapter: its own, and those of an image encoder that the first has not."""
        known = {(file.location, file.file) for file in self.files}
        files = self.second.files if self.second else ()
        return [file for file in files if file.part == "adapter" or (file.location, file.file) not in known]

    @property
    def second_weights(self) -> Sequence[PlannedFile]:
        """Those of `second_files` with weights."""
        weights = self.second.weights if self.second else ()
        return [planned for planned in weights if planned.file in self.second_files]


def plan(
    model: str | Path,
    *,
    adapter: AdapterSource | None = None,
    image_encoder: ImageEncoderLike | None = None,
    blocks: Sequence[BlockSpec] = ("style",),
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    loras: Sequence[Lora] = (),
    vae: Reference | None = None,
    motion_adapter: Reference | None = None,
    plain: bool = False,
) -> LoadPlan:
    """Plan what `load` and a call would load. Nothing is downloaded, and no weights are read.

    Args:
        model: As in `load`.
        adapter: As in `load`.
        image_encoder: As in `load`.
        blocks: Selections of blocks, in each of which a style acts; they may name probe files.
        device: The device.
        dtype: None for the default of the device.
        loras: LoRA files. Once merged into the weights they take no memory; those with blocks stay in it.
        vae: A VAE in place of the model's own, which is loaded first.
        motion_adapter: Motion modules.
        plain: Whether adapter and image encoder are left out.

    Raises:
        ModelError: The model or a file cannot be found, or the model has no adapter.
        CheckpointError: The adapter or another file cannot be read or does not fit, or the network of the model
            is unknown.
        BlockError: The network has no such block or role.
    """
    card, adapter = resolve_card(str(model), adapter)
    card = drop_adapter(card) if plain else card
    dtype = dtype or choose_dtype(card, device)
    files = list_required_files(card, adapter, image_encoder)
    conflicts = find_network_conflicts(card) if plain else find_conflicts(card, adapter, image_encoder, files)
    for error in conflicts:
        raise error
    source = next((file.path for file in files if file.part == "adapter"), adapter)
    checkpoint = None if source is None else IPAdapterCheckpoint.open(source)
    layers, architecture = _find_layers(card, checkpoint)
    selections = [architecture.select(resolve_block_spec(spec, architecture)) for spec in blocks]
    selected = {block: weight for each in selections for block, weight in each.items()}
    layers = [layer for layer in layers if find_weight(selected, layer)]
    tokens = (checkpoint.tokens if checkpoint else None) or DEFAULT_TOKENS
    numbers = [] if plain else [layer.number for layer in layers]
    adapter_bytes = checkpoint.size_of(numbers) if checkpoint else None
    named = [*(("loras", lora) for lora in loras), ("vae", vae), ("motion_adapter", motion_adapter)]
    added = [file for field, entry in named if entry for file in _list_added(field, entry.name)]
    planned = [_plan_file(file, dtype, adapter_bytes) for file in [*files, *added] if _has_weights(file)]
    kept = {Path(lora.name) for lora in loras if lora.blocks is not None}
    planned = [replace(each, num_bytes=each.file.num_bytes) if each.file.path in kept else each for each in planned]
    return LoadPlan(
        files=[*files, *added],
        weights=[replace(each, num_bytes=0) if vae and each.file.part == "vae" else each for each in planned],
        dtype=dtype,
        device=device,
        blocks=selected,
        tensors=list_layer_tensors(
            numbers, any(layer.has_bias for layer in layers), any(layer.is_timed for layer in layers)
        ),
        adapter_bytes=adapter_bytes,
        # Keys and values, each for the conditional and the unconditional half of a batch.
        style_bytes=sum(2 * 2 * tokens * layer.width * dtype.itemsize for layer in layers),
    )


def add_redux_files(planned: LoadPlan, files: Sequence[RequiredFile]) -> LoadPlan:
    """Add the files of FLUX.1 Redux to a plan. They are loaded in float32."""
    weights = [_plan_file(file, torch.float32, None) for file in files if _has_weights(file)]
    return replace(planned, files=[*planned.files, *files], weights=[*planned.weights, *weights])


def _find_layers(card: ModelCard, checkpoint: IPAdapterCheckpoint | None) -> tuple[Sequence[Layer], Architecture]:
    """Find layers and architecture of the network; of one that is not on this machine, by the adapter."""
    network = find_network(card, checkpoint)
    if network is not None:
        return network.layers, network.architecture.with_layers(layer.name for layer in network.layers)
    architecture = (checkpoint.architecture if checkpoint else None) or card.adapter_architecture
    if architecture is None or (checkpoint is None and architecture.cross_dim is None):
        raise CheckpointError(f"The network of {card.pipeline} is unknown: there is no {UNET_CONFIG} on this machine.")
    return list_table_layers(architecture, checkpoint.cross_dim if checkpoint else None), architecture


def _list_added(field: str, name: str) -> list[RequiredFile]:
    """List the files that a field of a recipe adds to a model; those of the hub are not downloaded."""
    part = CHANGED_PARTS[field]
    if field != "loras" and is_hub_id(field, name):
        files = ("config.json", COMPONENT_WEIGHTS)
        return [RequiredFile(part, name, file, find_cached_file(name, file)) for file in files]
    found = FINDERS[field](name)
    check_file_kind(field, found.path)
    paths = [path for path in (found.config, found.path) if path is not None]
    return [RequiredFile(part, str(path.parent), path.name, path, on_hub=False) for path in paths]


def _has_weights(file: RequiredFile) -> bool:
    return (file.weights is not None and file.weights.millions > 0) or file.file.endswith(WEIGHTS_SUFFIXES)


def _plan_file(file: RequiredFile, dtype: torch.dtype, adapter_bytes: int | None) -> PlannedFile:
    if file.part == "adapter":
        # Only the tensors that are read stay in memory, in the dtype of the file.
        return PlannedFile(file, adapter_bytes or 0)
    if file.part in (IMAGE_ENCODER, CHANGED_PARTS["loras"]):
        return PlannedFile(file, 0)
    if file.path is None:
        # Of a file that no registry has, the size is unknown.
        stored = file.weights.bytes_per_parameter if file.weights else dtype.itemsize
        return PlannedFile(file, file.num_bytes // stored * dtype.itemsize)
    if file.path.suffix == ".ckpt" and file.part == CHANGED_PARTS["motion_adapter"]:
        tensors = WeightFile(str(file.path), file.path).map().values()
        return PlannedFile(file, sum(tensor.numel() for tensor in tensors) * dtype.itemsize)
    # Averaged weights of training lie in some checkpoints beside those that are loaded.
    shapes = open_state_dict(file.path).shapes.items()
    parameters = sum(prod(shape) for name, shape in shapes if not name.startswith("model_ema."))
    return PlannedFile(file, parameters * dtype.itemsize)
