"""Find what does not fit together in a model, an adapter and an image encoder, without reading weights."""

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from ..core.encoder_files import check_encoder_fits, read_encoder_sizes
from ..core.image_encoder import ImageEncoder
from ..core.row_layout import ROW_LAYOUTS
from ..errors import CheckpointError, InstantStyleError, MissingExtra, ModelError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..unet.architectures import Architecture
from ..unet.blocks import Layer
from ..utils.missing_package import format_install
from ..utils.text import shorten
from .clip_sources import find_image_encoder_source, unknown_image_encoder_error
from .file_kinds import find_other_kind
from .network import Network, find_network, list_table_layers
from .pipeline_files import (
    PIPELINE_INDEX,
    Kind,
    find_pipeline_variant,
    list_components,
    list_outside_names,
    read_index,
)
from .registry import CARDS, ModelCard
from .required_files import RequiredFile, find_local_pipeline
from .resolve import AdapterSource, ImageEncoderLike
from .transformer_file import find_file_conflicts

_TOKENIZER_PACKAGES: Mapping[Kind, Sequence[str]] = {
    "SentencePiece": ("sentencepiece",),
    # transformers converts spiece.model, which it parses as a message of protobuf.
    "T5 tokenizer": ("sentencepiece", "google.protobuf"),
}
"""Packages that read tokenizers, beside those which this package depends on."""

_INSTALL = {"sentencepiece": "instantstyle[kolors]", "google.protobuf": "protobuf"}
"""What is to be installed for a package."""


def find_conflicts(
    card: ModelCard,
    adapter: AdapterSource | None,
    image_encoder: ImageEncoderLike | None,
    files: Sequence[RequiredFile],
) -> Iterator[InstantStyleError]:
    """Find what `load` would refuse after it has opened the files.

    Args:
        card: The model, as `resolve_card` returns it.
        adapter: As in `load`, as `resolve_card` returns it.
        image_encoder: As in `load`.
        files: The files of `list_required_files` for these arguments. What is missing is not checked.

    Yields:
        An error for each part that does not fit.
    """
    yield from find_network_conflicts(card)
    if adapter is None and card.adapter is None:
        yield missing_adapter_error(card)
        return
    source = next((file.path for file in files if file.part == "adapter"), adapter)
    checkpoint = None
    try:
        checkpoint = None if source is None else IPAdapterCheckpoint.open(source)
        network = find_network(card, checkpoint)
        _check_adapter(card, checkpoint, network)
    except CheckpointError as error:
        yield _explain("adapter", source, checkpoint is None) or error
    if checkpoint is not None:
        yield from _check_image_encoder(card, checkpoint, image_encoder)


def missing_adapter_error(card: ModelCard) -> ModelError:
    """Make the error for a model without an adapter."""
    known = card.base is not None and card.base.name in CARDS
    fitting = f'"{card.base.name}"' if card.base and known else '"sdxl", "sd15", "flux-dev" or "sd35-large"'
    return ModelError(
        f"{card.name} names no IP-Adapter; pass adapter=, a file or the name of a model whose adapter is "
        f"for the same base, such as {fitting}."
    )


def _find_missing_packages(card: ModelCard, kinds: Mapping[str, Kind]) -> Iterator[MissingExtra]:
    """Yield an error where the tokenizers of a model need packages that are not installed.

    Args:
        card: The model.
        kinds: Kinds of its components by name.
    """
    local = find_local_pipeline(card) if "T5 tokenizer" in kinds.values() else None
    needed: dict[str, None] = {}
    for name, kind in kinds.items():
        # The same in the format of the tokenizers package needs no other.
        if kind == "SentencePiece" or local is None or not (local[0] / name / "tokenizer.json").is_file():
            needed |= dict.fromkeys(_TOKENIZER_PACKAGES.get(kind, ()))
    if missing := [package for package in needed if not _is_installed(package)]:
        install = format_install(*(_INSTALL[package] for package in missing))
        yield MissingExtra(
            f"{card.name} reads prompts with SentencePiece, for which {' and '.join(missing)} "
            f"{'are' if missing[1:] else 'is'} not installed: {install}."
        )


def _is_installed(package: str) -> bool:
    parts = package.split(".")
    # Of a package inside another, the outer one is imported to find it.
    return all(find_spec(".".join(parts[: place + 1])) is not None for place in range(len(parts)))


def find_network_conflicts(card: ModelCard) -> Iterator[InstantStyleError]:
    """Find what `load` would refuse of a model without an adapter: a damaged index, names outside of it, no UNet."""
    if card.base is not None:
        yield from find_network_conflicts(card.base)
        yield from find_file_conflicts(card)
        return
    folder = Path(card.pipeline)
    index = read_index(folder) if folder.is_dir() else {}
    if not index:
        yield from _find_missing_packages(card, card.kinds)
        if (folder / PIPELINE_INDEX).is_file():
            yield ModelError(f"{folder / PIPELINE_INDEX} is no index of a pipeline; download it again.")
        return
    for file, name in list_outside_names(folder, card.variant or find_pipeline_variant(folder)):
        yield ModelError(
            f"{folder / file} names {shorten(name)}, which is outside its folder; download the model again."
        )
    yield from _find_missing_packages(card, {each.name: each.kind for each in list_components(index)})
    kind = index.get("_class_name")
    # An index without components, whose class is known, is one of which files are missing.
    known = kind is None or (isinstance(kind, str) and kind in ROW_LAYOUTS)
    if "transformer" in index and kind in ROW_LAYOUTS:
        return
    if "unet" not in index and not (known and all(each.name == "unet" for each in list_components(index))):
        yield ModelError(
            f"{card.pipeline} contains a {str(kind or 'pipeline')[:60]} without a UNet; only SDXL, Kolors, "
            "Stable Diffusion 1.5, FLUX.1, Chroma and SD3.5 fit."
        )


def _check_adapter(card: ModelCard, checkpoint: IPAdapterCheckpoint | None, network: Network | None) -> None:
    """Raise `CheckpointError` for an adapter that was trained for another network."""
    if network is None:
        return
    if checkpoint is not None:
        checkpoint.validate_layers(network.layers)
        checkpoint.validate_family(network.architecture)
        return
    other, own = card.adapter_architecture, network.architecture
    if other is None:
        return
    # Kolors has the layers of SDXL.
    if _sizes(list_table_layers(other)) != _sizes(network.layers) or other.projects_text != own.projects_text:
        raise CheckpointError(
            f"{card.adapter} does not fit {card.name}: it was trained for {_describe(other)}; the network is "
            f"{_describe(own)}. Use an adapter for that network."
        )


def _describe(architecture: Architecture) -> str:
    width = f" (cross dim {architecture.cross_dim})" if architecture.cross_dim else ""
    return f"{architecture.title if architecture.roles else 'an unknown one'}{width}"


def _sizes(layers: Sequence[Layer]) -> set[tuple[int, int, int]]:
    return {(layer.number, layer.width, layer.cross_dim) for layer in layers}


def _check_image_encoder(
    card: ModelCard, checkpoint: IPAdapterCheckpoint, image_encoder: ImageEncoderLike | None
) -> Iterator[InstantStyleError]:
    """Yield an error for an image encoder that is not known, cannot be read or does not fit the adapter."""
    needed = checkpoint.projection_type, checkpoint.embedding_dim
    if image_encoder is None and card.image_encoder is not None:
        image_encoder = card.folder / card.image_encoder
    if image_encoder is None:
        if find_image_encoder_source(*needed) is None:
            yield unknown_image_encoder_error(*needed)
        return
    try:
        if isinstance(image_encoder, str | Path):
            path = Path(image_encoder)
            # What is missing is in the list of files.
            if path.is_file() or (path / "config.json").is_file():
                check_encoder_fits(read_encoder_sizes(path), *needed)
        else:
            ImageEncoder.open(image_encoder).check_fits(*needed)
    except CheckpointError as error:
        yield _explain("image_encoder", image_encoder, True) or error


def _explain(field: str, source: object, is_unread: bool) -> CheckpointError | None:
    """Return an error for a file that is of another kind than a field names; None where there is no such file."""
    if not is_unread or not isinstance(source, str | Path) or not os.path.isfile(source):
        return None
    error = find_other_kind(field, Path(source))
    return error and CheckpointError(str(error))
