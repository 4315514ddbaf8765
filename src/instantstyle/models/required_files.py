"""List the files of a model and where they are, without downloads and without reading weights."""

import json
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import CheckpointError, JobError, ModelError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..loaders.pretrained_files import default_weights, find_folder_variant, list_folder_weights, name_shards
from ..loaders.projection_config import EMBEDDING_TYPES
from ..loaders.state_dict import open_state_dict
from ..utils.hub import describe_search_locations, download_command, find_cached_file
from ..utils.text import one_line, shorten
from ..utils.text_file import read_text_file
from .clip_sources import TEXT_SOURCES, EncoderSource, find_image_encoder_source
from .pipeline_files import (
    IMAGE_ENCODER,
    PIPELINE_INDEX,
    Component,
    find_pipeline_variant,
    list_pipeline_files,
    name_component,
)
from .registry import HubFile, ModelCard, Weights, WeightsSize
from .resolve import AdapterSource, ImageEncoderLike, drop_adapter
from .single_file import describe_source

MAX_NAMES = 3
"""Number of missing files of a repository that an error names; the command in it names all of them."""


@dataclass(frozen=True)
class RequiredFile:
    """A file that a model needs.

    Attributes:
        part: What it belongs to: `unet`, `adapter`, `image encoder` and so on.
        location: Hub id or folder.
        file: Path in `location`.
        path: Where the file is on this machine; None if it is missing.
        revision: Commit on the hub; None for the main branch.
        weights: Size of the weights, where the registry has it.
        on_hub: Whether `location` is a hub id.
    """

    part: str
    location: str
    file: str
    path: Path | None
    revision: str | None = None
    weights: WeightsSize | None = None
    on_hub: bool = True

    @property
    def num_bytes(self) -> int:
        """Size of the file, or if it is missing that in the registry; 0 if unknown (small files)."""
        if self.path is not None:
            return self.path.stat().st_size
        return self.weights.num_bytes if self.weights else 0


def list_required_files(
    card: ModelCard, adapter: AdapterSource | None = None, image_encoder: ImageEncoderLike | None = None
) -> list[RequiredFile]:
    """List every file that loading a model needs.

    Args:
        card: The model.
        adapter: As in `load`. One in memory needs no file.
        image_encoder: As in `load`. One in memory needs no file.

    Returns:
        The files that are opened, and those that are missing; of several formats and precisions of the same
        weights only the one that is opened. Whether they fit together is checked by `find_conflicts`.

    Raises:
        ModelError: There is no such image encoder.
    """
    files = _list_pipeline_files(card)
    if card.unet is not None:
        files = [file for file in files if not (file.part == "unet" and file.weights)]
        files.append(find_hub_file("unet", card.unet))
    adapter_files = _list_adapter_files(card, adapter)
    features = _read_features(adapter_files[0].path if adapter_files else adapter) or card.features
    encoder_files = _list_image_encoder_files(card, image_encoder, features)
    paths = {file.path for file in encoder_files}
    # The encoder of the adapter may be a component of the pipeline as well.
    files = [file for file in files if file.part != IMAGE_ENCODER or file.path is None or file.path not in paths]
    return [*files, *adapter_files, *encoder_files]


def list_missing(files: Iterable[RequiredFile]) -> list[RequiredFile]:
    """Select the files that are not on this machine."""
    return [file for file in files if file.path is None]


def list_damaged(files: Iterable[RequiredFile]) -> list[str]:
    """Describe what is wrong with files on this machine: truncated, or not of the format of their suffix."""
    errors: list[str] = []
    for file in files:
        try:
            if file.path is not None:
                _check_format(file.path)
        except CheckpointError as error:
            errors.append(str(error))
    return errors


def list_optional_files(card: ModelCard) -> list[RequiredFile]:
    """List files that only some calls need: the text encoder, if the pipeline has none that fits."""
    projection_type, width = card.features or ("", 0)
    has_own = "text_encoder_2" in card.components and width == 1280
    source = TEXT_SOURCES.get(width) if projection_type in EMBEDDING_TYPES and not has_own else None
    if source is None:
        return []
    weights = HubFile(source.repo, source.files[1], source.revision, source.weights)
    return [find_hub_file("text encoder", weights)]


def missing_files_error(card: ModelCard, files: Sequence[RequiredFile]) -> ModelError:
    """Make the error for missing files: which, where they were searched, and how to get them, in one line."""
    if not all(file.on_hub for file in files):
        remedy = "reinstall it" if card.bundled else "fetch the folder again"
        by_folder: dict[str, list[str]] = {}
        for file in files:
            by_folder.setdefault(file.location, []).append(file.file)
        missing = "; ".join(f"{folder} lacks {', '.join(names)}" for folder, names in by_folder.items())
        return ModelError(f"{card.name} is incomplete: {missing}; {remedy}.{describe_source(card)}")
    by_repo: dict[str, list[str]] = {}
    for file in files:
        by_repo.setdefault(file.location, []).append(file.file)
    missing = ", ".join(
        f"{', '.join(names) if len(names) <= MAX_NAMES else f'{len(names)} files'} of {repo}"
        for repo, names in by_repo.items()
    )
    hint = f" The folder of this name is ./{card.name}." if Path(card.name).is_dir() else describe_source(card)
    return ModelError(
        f"{card.name} is incomplete: {missing} not found in {describe_search_locations()}; "
        f"on a machine with network access, run `{' && '.join(download_commands(files))}`.{hint}"
    )


def download_commands(files: Iterable[RequiredFile]) -> list[str]:
    """Format the commands that download missing files, one for each repository."""
    by_repo: dict[tuple[str, str | None], list[str]] = {}
    for file in list_missing(files):
        if file.on_hub:
            by_repo.setdefault((file.location, file.revision), []).append(file.file)
    return [download_command(repo, names, revision) for (repo, revision), names in by_repo.items()]


def find_local_pipeline(card: ModelCard) -> tuple[Path, str | None] | None:
    """Find the folder from which a pipeline can be loaded without network access, and its variant.

    Args:
        card: The model.

    Returns:
        The folder that `card.pipeline` names, or the snapshot in the local cache if it is complete; and the
        variant to load. None for a hub id whose files are not all in the cache.
    """
    folder = Path(card.pipeline)
    if folder.is_dir():
        return folder, card.variant or find_pipeline_variant(folder)
    index = find_cached_file(card.pipeline, PIPELINE_INDEX, card.pipeline_revision)
    if index is None or list_missing(list_required_files(drop_adapter(card))):
        return None
    return index.parent, card.variant or find_pipeline_variant(index.parent)


def list_base_files(card: ModelCard) -> list[RequiredFile]:
    """List the files that loading a single-file checkpoint opens beside it: configs, tokenizers, and further parts."""
    return [] if card.base is None else _list_pipeline_files(card.base, card.held)


def _list_pipeline_files(card: ModelCard, held: Collection[str] = ()) -> list[RequiredFile]:
    """List the files of a pipeline.

    Args:
        card: The model.
        held: Components of whose files only those without weights are listed.
    """
    path = Path(card.pipeline)
    if card.base is not None:
        part = "transformer" if "transformer" in card.held else "pipeline"
        own = RequiredFile(part, str(path.parent), path.name, path if path.is_file() else None, on_hub=False)
        return [own, *list_base_files(card)]
    if path.is_dir() or card.bundled:
        return _list_folder_files(path, card, held, on_hub=False)
    index = _find_pipeline_file(card, "pipeline", PIPELINE_INDEX)
    if card.components:
        parts = [_component(card, part) for part in card.components]
        small = [
            _find_pipeline_file(card, part.name, f"{part.name}/{file}")
            for part in parts
            for file in part.list_small_files()
        ]
        weights = [
            _find_pipeline_file(card, part.name, f"{part.name}/{name}", size)
            for part in parts
            if part.name not in held
            for name, size in _name_weights(part, card.components[part.name], card.variant)
        ]
        return [index, *small, *weights]
    if index.path is None:
        return [index]
    return _list_folder_files(index.path.parent, card, held, on_hub=True)


def _component(card: ModelCard, name: str) -> Component:
    return name_component(name, card.kinds)


def _name_weights(part: Component, weights: Weights, variant: str | None) -> list[tuple[str, WeightsSize | None]]:
    """Return names and sizes of a component's files of weights; the index of several has no size."""
    if part.library is None or weights is None:
        return []
    if isinstance(weights, WeightsSize):
        return [(default_weights(part.library, variant), weights)]
    return list(zip(name_shards(part.library, variant, len(weights)), (None, *weights), strict=True))


def _read_features(adapter: AdapterSource | None) -> tuple[str, int] | None:
    """Read projection type and width from an adapter; None if there is none or it cannot be read."""
    if adapter is None:
        return None
    try:
        checkpoint = IPAdapterCheckpoint.open(adapter)
    except CheckpointError:
        return None
    return checkpoint.projection_type, checkpoint.embedding_dim


def _check_format(path: Path) -> None:
    """Raise `CheckpointError` for a file of weights or a JSON file that cannot be read."""
    if path.suffix in (".safetensors", ".bin"):
        open_state_dict(path)
    elif path.suffix == ".json":
        try:
            # Vocabularies have more values than `parse_json` reads.
            json.loads(read_text_file(path, "JSON"))
        except JobError as error:
            raise CheckpointError(str(error)) from None
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is not valid JSON ({one_line(error)}); download it again.") from None


def _find_pipeline_file(card: ModelCard, part: str, file: str, weights: WeightsSize | None = None) -> RequiredFile:
    path = find_cached_file(card.pipeline, file, card.pipeline_revision)
    return RequiredFile(part, card.pipeline, file, path, card.pipeline_revision, weights)


def find_hub_file(part: str, file: HubFile) -> RequiredFile:
    """Find a file of the hub in the local cache."""
    path = find_cached_file(file.repo, file.file, file.revision)
    return RequiredFile(part, file.repo, file.file, path, file.revision, file.weights)


def _find_local_file(part: str, folder: Path, file: str) -> RequiredFile:
    path = folder / file
    return RequiredFile(part, str(folder), file, path if path.is_file() else None, on_hub=False)


def _list_folder_files(folder: Path, card: ModelCard, held: Collection[str], *, on_hub: bool) -> list[RequiredFile]:
    """List the files of a pipeline's folder that are opened."""
    variant = card.variant or find_pipeline_variant(folder)
    files = [_find_local_file(part, folder, file) for part, file in list_pipeline_files(folder, variant, held)]
    return [replace(file, location=card.pipeline, on_hub=on_hub, revision=card.pipeline_revision) for file in files]


def _list_adapter_files(card: ModelCard, adapter: AdapterSource | None) -> list[RequiredFile]:
    if isinstance(adapter, str | Path):
        return [_find_local_file("adapter", Path(adapter).parent, Path(adapter).name)]
    if adapter is not None or card.adapter is None:
        return []
    if card.adapter_repo is None:
        return [_find_local_file("adapter", card.folder, card.adapter)]
    weights = card.adapter_weights or WeightsSize(0.0)
    return [find_hub_file("adapter", HubFile(card.adapter_repo, card.adapter, card.revision, weights))]


def _list_image_encoder_files(
    card: ModelCard, image_encoder: ImageEncoderLike | None, features: tuple[str, int] | None
) -> list[RequiredFile]:
    if isinstance(image_encoder, str | Path) and not os.path.exists(image_encoder):
        raise ModelError(
            f"There is no image encoder {shorten(str(image_encoder))}; looked in "
            f"{Path(image_encoder).absolute().parent}. Name a folder with its config.json, or a file of its weights; "
            "one of the hub is downloaded first."
        )
    if image_encoder is None and card.image_encoder is not None:
        image_encoder = card.folder / card.image_encoder
    source = find_image_encoder_source(*features) if image_encoder is None and features else None
    return list_image_encoder_files(image_encoder, source)


def list_image_encoder_files(
    image_encoder: ImageEncoderLike | None, source: EncoderSource | None, part: str = "image encoder"
) -> list[RequiredFile]:
    """List the files of an image encoder.

    Args:
        image_encoder: Its folder or file. One in memory needs no file.
        source: Where it is on the hub, if `image_encoder` is None; None if that is not known.
        part: The part that the files are of.
    """
    if isinstance(image_encoder, str | Path):
        path = Path(image_encoder)
        if path.is_file():
            return [_find_local_file(part, path.parent, path.name)]
        variant = find_folder_variant(path, "transformers")
        names = ["config.json", *list_folder_weights(path, "transformers", variant)]
        return [_find_local_file(part, path.parent, f"{path.name}/{name}") for name in names]
    if image_encoder is not None or source is None:
        return []
    files = [HubFile(source.repo, file, source.revision, WeightsSize(0.0)) for file in source.files]
    files[-1] = replace(files[-1], weights=source.weights)
    return [find_hub_file(part, file) for file in files]
