"""List the files of a model and where they are, without downloads and without reading weights."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import CheckpointError, ModelError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..loaders.state_dict import open_state_dict
from ..utils.hub import describe_search_locations, download_command, find_cached_file
from .clip_sources import TEXT_SOURCES, find_image_encoder_source
from .registry import CARDS, HubFile, ModelCard, WeightsSize
from .resolve import AdapterSource, ImageEncoderLike

PIPELINE_INDEX = "model_index.json"
"""File that names the components of a pipeline."""

_TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")

_VOCABULARY_FILES = ("vocab.json", "tokenizer.json")
"""Vocabulary of a tokenizer as written by transformers before version 5, and since."""

_CONFIGS = {"scheduler": "scheduler_config.json", "feature_extractor": "preprocessor_config.json"}
"""Config file of components that have no weights."""

_DIFFUSERS_COMPONENTS = ("unet", "vae")
"""Components whose weights have diffusers' file name; the others have that of transformers."""


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

    Raises:
        CheckpointError: The adapter is on this machine, and cannot be read.
    """
    files = _list_pipeline_files(card)
    if card.unet is not None:
        files = [file for file in files if not (file.part == "unet" and file.weights)]
        files.append(_find_hub_file("unet", card.unet))
    adapter_files = _list_adapter_files(card, adapter)
    features = card.features
    source = adapter_files[0].path if adapter_files else adapter
    if source is not None:
        checkpoint = IPAdapterCheckpoint.open(source)
        features = checkpoint.projection_type, checkpoint.embedding_dim
    return [*files, *adapter_files, *_list_image_encoder_files(card, image_encoder, features)]


def list_missing(files: Iterable[RequiredFile]) -> list[RequiredFile]:
    """Select the files that are not on this machine."""
    return [file for file in files if file.path is None]


def list_damaged(files: Iterable[RequiredFile]) -> list[str]:
    """Describe what is wrong with files on this machine: truncated, or not of the format of their suffix."""
    errors: list[str] = []
    for file in files:
        if file.path is not None and file.path.suffix == ".safetensors":
            try:
                open_state_dict(file.path)
            except CheckpointError as error:
                errors.append(str(error))
    return errors


def list_optional_files(card: ModelCard) -> list[RequiredFile]:
    """List files that only some calls need: the text encoder, if the pipeline has none that fits."""
    projection_type, width = card.features or ("", 0)
    has_own = "text_encoder_2" in card.components and width == 1280
    source = TEXT_SOURCES.get(width) if projection_type == "base" and not has_own else None
    if source is None:
        return []
    weights = HubFile(source.repo, source.files[1], source.revision, source.weights)
    return [_find_hub_file("text encoder", weights)]


def missing_files_error(card: ModelCard, files: Sequence[RequiredFile]) -> ModelError:
    """Make the error for missing files: which, where they were searched, and how to get them, in one line."""
    if not all(file.on_hub for file in files):
        remedy = "reinstall it" if card.bundled else "fetch the folder again"
        missing = ", ".join(file.file for file in files)
        return ModelError(f"{card.name} is incomplete: {card.pipeline} lacks {missing}; {remedy}.")
    missing = ", ".join(f"{file.file} of {file.location}" for file in files)
    return ModelError(
        f"{card.name} is incomplete: {missing} not found in {describe_search_locations()}; "
        f"on a machine with network access, run `{' && '.join(download_commands(files))}`."
    )


def download_commands(files: Iterable[RequiredFile]) -> list[str]:
    """Format the commands that download missing files, one for each repository."""
    by_repo: dict[tuple[str, str | None], list[str]] = {}
    for file in list_missing(files):
        if file.on_hub:
            by_repo.setdefault((file.location, file.revision), []).append(file.file)
    return [download_command(repo, names, revision) for (repo, revision), names in by_repo.items()]


def find_config_card(card: ModelCard) -> ModelCard:
    """Find the registered model whose configs and tokenizers a single-file checkpoint uses."""
    return CARDS[card.architecture.name if card.architecture else "sdxl"]


def list_config_files(card: ModelCard) -> list[str]:
    """List the files of a registered pipeline that have no weights."""
    return [PIPELINE_INDEX, *(file for part in card.components for file in _list_small_files(part))]


def _list_pipeline_files(card: ModelCard) -> list[RequiredFile]:
    path = Path(card.pipeline)
    if path.is_file():
        base = find_config_card(card)
        configs = [_find_pipeline_file(base, "settings", file) for file in list_config_files(base)]
        return [RequiredFile("pipeline", str(path.parent), path.name, path, on_hub=False), *configs]
    if path.is_dir() or card.bundled:
        return _list_folder_files(path, card.pipeline, on_hub=False)
    index = _find_pipeline_file(card, "pipeline", PIPELINE_INDEX)
    if card.components:
        parts = [(part, file) for part in card.components for file in _list_small_files(part)]
        small = [_find_pipeline_file(card, part, file) for part, file in parts]
        weights = [
            _find_pipeline_file(card, part, _weights_file(part, card.variant), size)
            for part, size in card.components.items()
            if size
        ]
        return [index, *small, *weights]
    if index.path is None:
        return [index]
    return _list_folder_files(index.path.parent, card.pipeline, on_hub=True)


def _list_small_files(part: str) -> list[str]:
    """List the files without weights of a component."""
    if part.startswith("tokenizer"):
        return [f"{part}/{file}" for file in _TOKENIZER_FILES]
    return [f"{part}/{_CONFIGS.get(part, 'config.json')}"]


def _weights_file(part: str, variant: str | None) -> str:
    stem = "diffusion_pytorch_model" if part in _DIFFUSERS_COMPONENTS else "model"
    return f"{part}/{stem}{f'.{variant}' if variant else ''}.safetensors"


def _find_pipeline_file(card: ModelCard, part: str, file: str, weights: WeightsSize | None = None) -> RequiredFile:
    path = find_cached_file(card.pipeline, file, card.pipeline_revision)
    return RequiredFile(part, card.pipeline, file, path, card.pipeline_revision, weights)


def _find_hub_file(part: str, file: HubFile) -> RequiredFile:
    path = find_cached_file(file.repo, file.file, file.revision)
    return RequiredFile(part, file.repo, file.file, path, file.revision, file.weights)


def _find_local_file(part: str, folder: Path, file: str) -> RequiredFile:
    path = folder / file
    return RequiredFile(part, str(folder), file, path if path.is_file() else None, on_hub=False)


def _list_folder_files(folder: Path, location: str, *, on_hub: bool) -> list[RequiredFile]:
    """List the files in a pipeline's folder: weights in one or several files of any precision."""
    try:
        index = json.loads((folder / PIPELINE_INDEX).read_text(encoding="utf-8"))
        parts = [name for name, entry in index.items() if isinstance(entry, list) and entry[0] is not None]
    except (OSError, ValueError, AttributeError, IndexError):
        parts = ["unet"]
    files = [_find_local_file("pipeline", folder, PIPELINE_INDEX)]
    for part in parts:
        files += [_find_local_file(part, folder, file) for file in _list_component_files(part, folder)]
    return [replace(file, location=location, on_hub=on_hub) for file in files]


def _list_component_files(part: str, folder: Path) -> list[str]:
    """List the files of a component that are there; where there are none, those that should be."""
    if part.startswith("tokenizer"):
        found = [f"{part}/{file}" for file in _VOCABULARY_FILES if (folder / part / file).is_file()]
        return found[:1] or [f"{part}/{_VOCABULARY_FILES[0]}"]
    config = _list_small_files(part)[0]
    if part in _CONFIGS:
        return [config]
    weights = sorted([*folder.glob(f"{part}/*.safetensors"), *folder.glob(f"{part}/*.bin")])
    return [config, *([f"{part}/{file.name}" for file in weights] or [_weights_file(part, None)])]


def _list_adapter_files(card: ModelCard, adapter: AdapterSource | None) -> list[RequiredFile]:
    if isinstance(adapter, str | Path):
        return [_find_local_file("adapter", Path(adapter).parent, Path(adapter).name)]
    if adapter is not None or card.adapter is None:
        return []
    if card.adapter_repo is None:
        return [_find_local_file("adapter", Path(card.pipeline), card.adapter)]
    weights = card.adapter_weights or WeightsSize(0.0)
    return [_find_hub_file("adapter", HubFile(card.adapter_repo, card.adapter, card.revision, weights))]


def _list_image_encoder_files(
    card: ModelCard, image_encoder: ImageEncoderLike | None, features: tuple[str, int] | None
) -> list[RequiredFile]:
    if image_encoder is None and card.image_encoder is not None:
        image_encoder = Path(card.pipeline) / card.image_encoder
    if isinstance(image_encoder, str | Path):
        path = Path(image_encoder)
        if path.is_file():
            return [_find_local_file("image encoder", path.parent, path.name)]
        weights = sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])
        names = ["config.json", *([file.name for file in weights] or ["model.safetensors"])]
        return [_find_local_file("image encoder", path.parent, f"{path.name}/{name}") for name in names]
    source = find_image_encoder_source(*features) if image_encoder is None and features else None
    if source is None:
        return []
    files = [HubFile(source.repo, file, source.revision, WeightsSize(0.0)) for file in source.files]
    files[-1] = replace(files[-1], weights=source.weights)
    return [_find_hub_file("image encoder", file) for file in files]
