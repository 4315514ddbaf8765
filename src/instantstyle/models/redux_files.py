"""FLUX.1 Redux beside a model: whether it is for the model, its files, and the opened model."""

from ..core.redux_model import ReduxModel
from ..core.row_layout import ROW_LAYOUTS
from ..errors import InstantStyleError, ModelError, StyleError
from ..loaders.weight_files import find_redux, is_hub_id
from ..recipe_types import Reference
from ..utils.hub import describe_search_locations, find_cached_file, why_unreachable
from ..utils.library_logging import hide_progress_bars
from .clip_sources import SIGLIP_SOURCE
from .network import find_network
from .pipeline_files import PIPELINE_INDEX, read_index
from .registry import CARDS, REDUX, HubFile, ModelCard
from .required_files import (
    RequiredFile,
    download_commands,
    find_hub_file,
    list_image_encoder_files,
    list_missing,
)
from .resolve import find_card

REDUX_PARTS = ("redux", "redux image encoder")
"""Parts of a plan: the weights, and the files of the image encoder."""


def find_redux_conflict(model: str) -> StyleError | None:
    """Find out whether a model is one that Redux is not for.

    Args:
        model: As in `load`.

    Returns:
        The error; None where Redux is for it, or what it is cannot be told without loading it.
    """
    try:
        is_flux = _is_flux(find_card(model))
    except InstantStyleError:
        # Loading reports it.
        return None
    return _other_model_error(model) if is_flux is False else None


def _other_model_error(model: str) -> StyleError:
    fitting = ", ".join(name for name, card in CARDS.items() if card.redux)
    return StyleError(
        f"FLUX.1 Redux (redux_references, --redux) acts in FLUX.1, and {model} is another model; leave it out, or use "
        f"one of {fitting}."
    )


def takes_redux(model: str) -> bool:
    """Return whether a model is known to be one that Redux is for."""
    try:
        return _is_flux(find_card(model)) is True
    except InstantStyleError:
        return False


def _is_flux(card: ModelCard) -> bool | None:
    """Whether a model is FLUX.1; None if neither its card nor its files on this machine tell."""
    if card.redux is not None:
        return True
    if card.architecture is not None:
        return False
    folder = card.folder
    index = folder / PIPELINE_INDEX if folder.is_dir() else find_cached_file(card.pipeline, PIPELINE_INDEX)
    kind = None if index is None else read_index(index.parent).get("_class_name")
    if isinstance(kind, str):
        # Of those that can be styled: FLUX.2 has other blocks and other text.
        return kind.startswith("Flux") and kind in ROW_LAYOUTS
    network = find_network(card)
    return None if network is None or network.architecture.is_transformer else False


def list_redux_files(weights: Reference | None = None, image_encoder: str | None = None) -> list[RequiredFile]:
    """List the files of Redux; none is downloaded.

    Args:
        weights: File, folder or hub id of the weights; None for the published ones.
        image_encoder: Folder or file of the image encoder; None for SigLIP SO400M/14-384.

    Raises:
        CheckpointError: The folder of the image encoder cannot be read.
        ModelError: There are no such weights.
    """
    part, encoder_part = REDUX_PARTS
    if weights is None or weights.name == REDUX.repo:
        file = find_hub_file(part, REDUX)
    elif is_hub_id("redux_model", weights.name):
        file = find_hub_file(part, HubFile(weights.name, REDUX.file, None, REDUX.weights))
    else:
        path = find_redux(weights.name).path
        file = RequiredFile(part, str(path.parent), path.name, path, on_hub=False)
    return [file, *list_image_encoder_files(image_encoder, SIGLIP_SOURCE, encoder_part)]


def validate_redux(weights: Reference | None = None, image_encoder: str | None = None) -> None:
    """Check that Redux and its image encoder are there or can be downloaded, before a model is loaded.

    Raises:
        CheckpointError: The folder of the image encoder cannot be read.
        ModelError: Files are missing and cannot be downloaded.
    """
    missing = list_missing(list_redux_files(weights, image_encoder))
    local = [file for file in missing if not file.on_hub]
    if local or (missing and why_unreachable()):
        names = ", ".join(f"{file.file} of {file.location}" for file in local or missing)
        if local:
            raise ModelError(f"FLUX.1 Redux is incomplete: {names} not found; name others as redux_image_encoder.")
        raise ModelError(
            f"FLUX.1 Redux is incomplete: {names} not found in {describe_search_locations()}; on a machine with "
            f"network access, run `{' && '.join(download_commands(missing))}`, or name local files as redux_model "
            "and redux_image_encoder."
        )


def check_redux(model: str, weights: Reference, image_encoder: str | None) -> None:
    """Check that Redux can act in the model of a service or studio, before that is loaded.

    Args:
        model: As in `load`.
        weights: File, folder or hub id of the weights.
        image_encoder: As in `open_redux`.

    Raises:
        CheckpointError: The folder of the image encoder cannot be read.
        ModelError: Files are missing and cannot be downloaded.
        StyleError: Redux is not for this model.
    """
    if error := find_redux_conflict(model):
        raise error
    validate_redux(weights, image_encoder)


def open_redux(weights: Reference, image_encoder: str | None, device: str) -> ReduxModel:
    """Open Redux with its image encoder. On each device, the last one stays in memory for the next references.

    Args:
        weights: File, folder or hub id of the weights, with their SHA-256 if it is known.
        image_encoder: Folder or file of the image encoder; None for SigLIP SO400M/14-384.
        device: A torch device, on which the image encoder runs.

    Raises:
        CheckpointError: The weights are others than Redux', do not fit the encoder, or cannot be read.
        ModelError: A file is missing, or the weights are others than those of `weights`.
    """
    encoder = str(SIGLIP_SOURCE.fetch()[0].parent) if image_encoder is None else image_encoder
    opened = _OPENED.get(device)
    if opened is None or opened.encoder_name != encoder or not _is_file(opened, weights):
        # First, so that there is memory for the next one.
        _OPENED.pop(device, None)
        with hide_progress_bars():
            opened = ReduxModel.open(weights.name, encoder)
        opened.encoder.model.to(device)
        if not _is_file(opened, weights):
            found = opened.file.sha256 if opened.file else None
            raise ModelError(
                f"{weights.name} is another file than the image was generated with (its sha256 is "
                f"{str(found)[:12]}…, expected {str(weights.sha256)[:12]}…)."
            )
        _OPENED[device] = opened
    return opened


_OPENED: dict[str, ReduxModel] = {}
"""The last opened Redux on each device."""


def _is_file(opened: ReduxModel, weights: Reference) -> bool:
    """Whether an opened Redux has the weights of a recipe."""
    file = opened.file
    return file is not None and file.name == weights.name and weights.sha256 in (None, file.sha256)
