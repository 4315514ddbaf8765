"""Resolve what a user names as a model (a registry name, folder, hub id or file) to a card."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ..errors import CheckpointError, ModelError, suggest_nearest
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..loaders.state_dict import SafetensorsStateDict, StateDictSource, open_state_dict
from ..loaders.weight_files import SUFFIX
from ..unet.architectures import Architecture
from ..utils.file_stamp import Stamp, file_stamp
from .registry import CARDS, ModelCard
from .single_file import SUPPORTED, make_file_card

AdapterSource = StateDictSource | IPAdapterCheckpoint
"""An adapter: a file or registry name, a state dict, or an open checkpoint."""

ImageEncoderLike = object
"""An image encoder: a folder or file, or a `CLIPVisionModelWithProjection`."""

CHECKPOINT_SUFFIXES = (".safetensors", ".ckpt")
"""Suffixes of single-file checkpoints."""


def find_card(model: str) -> ModelCard:
    """Find the card of a registered model, or make one for a folder, a hub id or a single file.

    Raises:
        ModelError: There is no such model, a folder has several adapters, or a file is not a checkpoint of a
            supported family.
    """
    if model in CARDS:
        return CARDS[model]
    if not model.strip():
        raise ModelError(f"The model's name is empty; known are {', '.join(CARDS)}; or give a folder or a hub id.")
    path = Path(model)
    if path.is_dir():
        adapters = _list_adapters(path)
        if len(adapters) > 1:
            raise ModelError(f"{path} has several adapters ({', '.join(adapters)}); pass adapter= to choose.")
        return _make_folder_card(model, adapters)
    if path.is_file():
        return _make_single_file_card(path)
    is_hub_id = model.count("/") == 1 and not model.startswith((".", "/", "~"))
    if is_hub_id and path.suffix not in CHECKPOINT_SUFFIXES:
        return ModelCard(model, model, None)
    raise ModelError(
        f"There is no model {model!r}; known are {', '.join(CARDS)}; or give a folder, a single-file "
        f"checkpoint or a hub id (owner/name).{suggest_nearest(model, list(CARDS))}"
    )


def _make_folder_card(folder: str, adapters: list[str]) -> ModelCard:
    encoder = "image_encoder" if (Path(folder) / "image_encoder").is_dir() else None
    return ModelCard(folder, folder, adapters[0] if len(adapters) == 1 else None, encoder)


def _list_adapters(folder: Path) -> list[str]:
    """List the names of a folder's adapters; InstantX's and Kolors' are published as .bin only."""
    names = sorted(file.name for file in folder.glob("ip-adapter*"))
    formats = ([name for name in names if name.endswith(suffix)] for suffix in (".safetensors", ".bin"))
    return next(filter(None, formats), [])


def resolve_card(model: str, adapter: AdapterSource | None = None) -> tuple[ModelCard, AdapterSource | None]:
    """Resolve a model and an adapter that may be named by another registered model.

    Args:
        model: As in `find_card`.
        adapter: An adapter, or the registry name of another model for the adapter of that one.

    Returns:
        The card, which has the other model's adapter if one is named; and the adapter, None if it is the
        card's own.

    Raises:
        ModelError: As in `find_card`, the adapter is no file, or the named model's was trained for another network.
    """
    card = find_card(model)
    other = CARDS.get(adapter) if isinstance(adapter, str) else None
    if other is None:
        if isinstance(adapter, str | Path):
            check_adapter_file(adapter)
        return card, adapter
    if other.adapter_repo is None:
        raise ModelError(f"The adapter of {adapter} fits that model only; name another or give a file.")
    if card.architecture and other.architecture and not _have_one_network(card.architecture, other.architecture):
        fitting = [
            name for name, each in CARDS.items() if each.adapter_repo and each.architecture == card.architecture
        ]
        names = f", such as {fitting[0]}" if fitting else ""
        raise ModelError(
            f"The adapter of {adapter} was trained for {other.architecture.title} and does not fit {card.name}, which "
            f"is {card.architecture.title}; name an adapter for that network{names}."
        )
    return replace(
        card,
        # Adapters of the same network may reach other blocks of it.
        architecture=card.architecture and (other.architecture or card.architecture),
        image_encoder=None,
        adapter=other.adapter,
        adapter_repo=other.adapter_repo,
        revision=other.revision,
        adapter_weights=other.adapter_weights,
        adapter_architecture=other.architecture,
        features=other.features,
    ), None


def check_adapter_file(adapter: str | Path) -> None:
    """Check that there is a file of an adapter that is no name of the registry.

    Raises:
        ModelError: There is none.
    """
    if not str(adapter).strip():
        raise ModelError(
            "The name of the adapter is empty; give a file, or the name of a model for the adapter of that."
        )
    if os.path.isdir(adapter):
        raise ModelError(f"{adapter} is a folder; name the file of the adapter in it.")
    if not os.path.exists(adapter):
        nearest, folder = suggest_nearest(str(adapter), CARDS), Path(adapter).absolute().parent
        raise ModelError(f"There is no adapter file {adapter}; looked in {folder}.{nearest}")


def _have_one_network(one: Architecture, other: Architecture) -> bool:
    """Whether two families are of the same network, as those of XLabs' and InstantX's adapters for FLUX.1 are."""
    is_flux = one.is_transformer and other.is_transformer and not (one.is_timed or other.is_timed)
    return is_flux or one.name == other.name


def drop_adapter(card: ModelCard) -> ModelCard:
    """Return the card without adapter and image encoder, which bound styles do not need."""
    return replace(
        card,
        adapter=None,
        adapter_repo=None,
        adapter_weights=None,
        adapter_architecture=None,
        image_encoder=None,
        features=None,
    )


def _make_single_file_card(path: Path) -> ModelCard:
    try:
        shapes, is_safetensors = _read_shapes(path, file_stamp(path))
    except CheckpointError as error:
        raise ModelError(f"{path} cannot be a model: {error}") from None
    if is_safetensors and path.suffix != SUFFIX:
        # diffusers chooses the reader by the suffix, after it has loaded the other parts.
        raise ModelError(
            f"{path} is in the format .safetensors, by its content, and models are read by their suffix; rename it to "
            f"{path.stem}{SUFFIX}."
        )
    folder = _make_folder_card(str(path.parent), _list_adapters(path.parent))
    card = make_file_card(path, shapes, folder)
    if card is not None:
        return card
    # Imported here, because it reads adapters and encoders, and most models are none.
    from .identify import identify_file

    found = identify_file(path)
    advice = f"; {found.advice}" if found.advice else ""
    raise ModelError(
        f"{path} is not a single-file checkpoint of {SUPPORTED}, by its tensors: "
        f"{found.description.removesuffix('.')}{advice}; `instantstyle doctor --look {path.parent}` says what the "
        "other files there are."
    )


# Checks before loading, and each request of a service, ask for the same model, whose header may have megabytes.
@lru_cache(maxsize=4)
def _read_shapes(path: Path, stamp: Stamp) -> tuple[Mapping[str, tuple[int, ...]], bool]:
    """Return the shapes of the tensors of a file, and whether it is in the format .safetensors.

    Args:
        path: The file.
        stamp: Its stamp: a changed file is read again.
    """
    tensors = open_state_dict(path)
    return tensors.shapes, isinstance(tensors, SafetensorsStateDict)
