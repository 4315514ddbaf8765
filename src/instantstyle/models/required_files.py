"""Which files a model is made of, and where on this machine they lie: nothing is fetched, no weight read."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ModelError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..loaders.state_dict import open_state_dict
from ..utils.hub import cached, download_command, looked_in
from .clip_sources import TEXT_SOURCES, image_tower_for
from .registry import CARDS, Card, Source, Weights

INDEX = "model_index.json"

_TOKENIZER = ("vocab.json", "merges.txt", "tokenizer_config.json")

_TOKENIZERS = ("vocab.json", "tokenizer.json")
"""A tokenizer's words, as releases of transformers before and after 5 write them."""

_CONFIGS = {"scheduler": "scheduler_config.json", "feature_extractor": "preprocessor_config.json"}

_DIFFUSERS_WEIGHTS = ("unet", "vae")
"""Parts whose weights go by diffusers' name; those of the others go by transformers'."""


@dataclass(frozen=True)
class Item:
    """One file that a model needs."""

    part: str
    """`unet`, `adapter`, `image encoder`: what it is for."""
    place: str
    """The hub id or folder that it belongs to."""
    file: str
    path: Path | None
    """Where it lies; None: nowhere on this machine."""
    revision: str | None = None
    weights: Weights | None = None
    """What is known of it before it is here."""
    on_hub: bool = True

    @property
    def size(self) -> int:
        """Bytes: its own where it is here, else the registry's; 0 for small files that are not."""
        if self.path is not None:
            return self.path.stat().st_size
        return self.weights.size if self.weights else 0


def inventory(card: Card, adapter: Any = None, image_encoder: Any = None) -> list[Item]:
    """Every file that loading the card needs; an adapter or encoder in memory needs none."""
    items = _pipeline_items(card)
    if card.unet is not None:
        items = [item for item in items if not (item.part == "unet" and item.weights)]
        items.append(_of_source("unet", card.unet))
    found = _adapter_items(card, adapter)
    return items + found + _encoder_items(card, image_encoder, _features(card, adapter, found))


def missing(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.path is None]


def broken(items: Iterable[Item]) -> list[str]:
    """What is wrong with files that are here: cut short, or not what they seem."""
    return [fault for item in items if item.path is not None and (fault := _fault(item.path))]


def optional(card: Card) -> list[Item]:
    """Files that only some drawings need: the text tower, where the pipeline has none that fits."""
    kind, width = card.features or ("", 0)
    own = card.components.keys() >= {"text_encoder_2"} and width == 1280
    tower = TEXT_SOURCES.get(width) if kind == "base" and not own else None
    if tower is None:
        return []
    return [_of_source("text tower", Source(tower.repo, tower.files[1], tower.revision, tower.weights))]


def absence(card: Card, items: Sequence[Item]) -> ModelError:
    """What is not here, where it was looked for and how to get it: in one line, however much it is."""
    files = ", ".join(f"{item.file} of {item.place}" for item in items)
    if not all(item.on_hub for item in items):
        remedy = "reinstall it" if card.bundled else "fetch the folder again"
        lacking = ", ".join(item.file for item in items)
        return ModelError(f"{card.name} is not whole: {card.pipeline} lacks {lacking}; {remedy}.")
    return ModelError(
        f"{card.name} is not whole: {files} not found in {looked_in()}; "
        f"where there is a network, run `{' && '.join(commands(items))}`."
    )


def commands(items: Iterable[Item]) -> list[str]:
    """The lines that fetch what is missing, one for each repository."""
    by_place: dict[tuple[str, str | None], list[str]] = {}
    for item in missing(items):
        if item.on_hub:
            by_place.setdefault((item.place, item.revision), []).append(item.file)
    return [download_command(place, files, revision) for (place, revision), files in by_place.items()]


def _pipeline_items(card: Card) -> list[Item]:
    path = Path(card.pipeline)
    if path.is_file():
        return [Item("pipeline", str(path.parent), path.name, path, on_hub=False), *_config_items(card)]
    if path.is_dir() or card.bundled:
        return _folder_items(path, card.pipeline, on_hub=False)
    if card.components:
        return [_on_hub(card, "pipeline", INDEX), *_component_items(card)]
    index = cached(card.pipeline, INDEX, card.pipeline_revision)
    if index is None:
        return [_on_hub(card, "pipeline", INDEX)]
    return _folder_items(index.parent, card.pipeline, on_hub=True)


def config_card(card: Card) -> Card:
    """The registered model whose settings and tokenizers a single-file checkpoint lacks and borrows."""
    return CARDS[card.architecture.name if card.architecture else "sdxl"]


def config_files(card: Card) -> list[str]:
    """The small files of a registered pipeline: all but the weights."""
    files = [file for part in card.components for file in _small_files(part)]
    return [INDEX, *files]


def _config_items(card: Card) -> list[Item]:
    lender = config_card(card)
    return [_on_hub(lender, "settings", file) for file in config_files(lender)]


def _component_items(card: Card) -> list[Item]:
    items = [_on_hub(card, part, file) for part in card.components for file in _small_files(part)]
    heavy = {part: weights for part, weights in card.components.items() if weights}
    return items + [
        _on_hub(card, part, _weights_file(part, card.variant), weights) for part, weights in heavy.items()
    ]


def _small_files(part: str) -> list[str]:
    if part.startswith("tokenizer"):
        return [f"{part}/{file}" for file in _TOKENIZER]
    return [f"{part}/{_CONFIGS.get(part, 'config.json')}"]


def _weights_file(part: str, variant: str | None) -> str:
    stem = "diffusion_pytorch_model" if part in _DIFFUSERS_WEIGHTS else "model"
    return f"{part}/{stem}{f'.{variant}' if variant else ''}.safetensors"


def _on_hub(card: Card, part: str, file: str, weights: Weights | None = None) -> Item:
    found = cached(card.pipeline, file, card.pipeline_revision)
    return Item(part, card.pipeline, file, found, card.pipeline_revision, weights)


def _of_source(part: str, source: Source) -> Item:
    found = cached(source.repo, source.file, source.revision)
    return Item(part, source.repo, source.file, found, source.revision, source.weights)


def _folder_items(folder: Path, place: str, *, on_hub: bool) -> list[Item]:
    """As its model_index.json says; weights may be whole or in pieces, of any precision."""
    files = [INDEX, *(file for part in _parts_of(folder / INDEX) for file in _files_of(part, folder))]
    items = [_local(file.partition("/")[0] if "/" in file else "pipeline", folder, file) for file in files]
    return [replace(item, place=place, on_hub=on_hub) for item in items]


def _files_of(part: str, folder: Path) -> list[str]:
    """Those that are there, and of those that should be the first choice."""
    if part.startswith("tokenizer"):
        kept = [f"{part}/{file}" for file in _TOKENIZERS if (folder / part / file).is_file()]
        return kept[:1] or [f"{part}/{_TOKENIZERS[0]}"]
    config = _small_files(part)[0]
    if part in _CONFIGS:
        return [config]
    kept = sorted([*folder.glob(f"{part}/*.safetensors"), *folder.glob(f"{part}/*.bin")])
    return [config, *([f"{part}/{file.name}" for file in kept] or [_weights_file(part, None)])]


def _parts_of(index: Path) -> list[str]:
    """The components that a pipeline has; without an index, the network at least."""
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))
        return [name for name, entry in entries.items() if isinstance(entry, list) and entry[0] is not None]
    except (OSError, ValueError, AttributeError, IndexError):
        return ["unet"]


def _adapter_items(card: Card, adapter: Any) -> list[Item]:
    if isinstance(adapter, str | Path):
        return [_local("adapter", Path(adapter).parent, Path(adapter).name)]
    if adapter is not None or card.adapter is None:
        return []
    if card.adapter_repo is None:
        return [_local("adapter", Path(card.pipeline), card.adapter)]
    weights = card.adapter_weights or Weights(0.0)
    return [_of_source("adapter", Source(card.adapter_repo, card.adapter, card.revision, weights))]


def _features(card: Card, adapter: Any, found: Sequence[Item]) -> tuple[str, int] | None:
    """Kind of the adapter and width of what it reads: from its tensors where it is here."""
    source = found[0].path if found else adapter
    if source is None:
        return card.features
    file = IPAdapterCheckpoint.open(source)
    return file.kind, file.embedding_dim


def _encoder_items(card: Card, image_encoder: Any, features: tuple[str, int] | None) -> list[Item]:
    if isinstance(image_encoder, str | Path):
        return _encoder_in(Path(image_encoder))
    if image_encoder is not None:
        return []
    if card.image_encoder is not None:
        return _encoder_in(Path(card.pipeline) / card.image_encoder)
    tower = image_tower_for(*features) if features else None
    if tower is None:
        return []
    sources = [Source(tower.repo, file, tower.revision, Weights(0.0)) for file in tower.files]
    sources[-1] = replace(sources[-1], weights=tower.weights)
    return [_of_source("image encoder", source) for source in sources]


def _encoder_in(place: Path) -> list[Item]:
    """A folder in transformers' layout, or a lone file of weights."""
    if place.is_file():
        return [_local("image encoder", place.parent, place.name)]
    weights = sorted([*place.glob("*.safetensors"), *place.glob("*.bin")])
    names = ["config.json", *([file.name for file in weights] or ["model.safetensors"])]
    return [_local("image encoder", place.parent, f"{place.name}/{name}") for name in names]


def _fault(path: Path) -> str | None:
    if path.suffix != ".safetensors":
        return None
    try:
        open_state_dict(path)
    except CheckpointError as fault:
        return str(fault)
    return None


def _local(part: str, folder: Path, file: str) -> Item:
    path = folder / file
    return Item(part, str(folder), file, path if path.is_file() else None, on_hub=False)
