"""What a model needs, what of it is on this machine, and what is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from .conflicts import find_conflicts
from .redux_files import list_redux_files, takes_redux
from .registry import ModelCard
from .required_files import (
    RequiredFile,
    download_commands,
    list_damaged,
    list_missing,
    list_optional_files,
    list_required_files,
)
from .resolve import resolve_card


@dataclass(frozen=True)
class ModelReport:
    """The files of a model and their faults.

    Attributes:
        card: The model.
        files: Every file that loading it opens, missing ones included.
        faults: What is wrong with files that are on this machine, or does not fit together; each one line.
        optional: Missing files that only content removal needs.
        redux: Missing files that only FLUX.1 Redux needs, where it is for this model.
    """

    card: ModelCard
    files: Sequence[RequiredFile]
    faults: Sequence[str]
    optional: Sequence[RequiredFile]
    redux: Sequence[RequiredFile] = ()

    @property
    def missing(self) -> list[RequiredFile]:
        """The files that are not on this machine."""
        return list_missing(self.files)

    @property
    def is_ready(self) -> bool:
        """Whether the model can be loaded without network access."""
        return not (self.missing or self.faults)

    @property
    def num_bytes(self) -> int:
        """Size of the missing files, or of all files if none is missing."""
        return sum(file.num_bytes for file in self.missing or self.files)

    def list_remedies(self) -> list[str]:
        """List what to do about missing files: shell commands, or advice where there is no command."""
        remedies = download_commands(self.missing)
        if any(not file.on_hub for file in self.missing):
            remedies.append("reinstall instantstyle" if self.card.bundled else f"put them in {self.card.folder}")
        return remedies


def examine_model(model: str, adapter: str | None = None, image_encoder: str | None = None) -> ModelReport:
    """Examine a model as `load` would, and list everything that it would refuse.

    Args:
        model: As in `load`.
        adapter: As in `load`.
        image_encoder: As in `load`.

    Returns:
        The report. Nothing is downloaded and no weights are read.

    Raises:
        ModelError: The model is not known, or the named adapter is for another network.
    """
    card, source = resolve_card(model, adapter)
    files = list_required_files(card, source, image_encoder)
    conflicts = [str(error) for error in find_conflicts(card, source, image_encoder, files)]
    # An adapter that cannot be read is in both lists.
    faults = dict.fromkeys([*list_damaged(files), *conflicts])
    redux = list_missing(list_redux_files()) if takes_redux(model) else []
    return ModelReport(card, files, list(faults), list_missing(list_optional_files(card)), redux)
