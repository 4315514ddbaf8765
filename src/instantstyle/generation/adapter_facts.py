"""What is known of an adapter, its image encoder and its network before a model is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointError, InstantStyleError
from ..loaders.pickle_file import is_archive
from ..loaders.weight_files import SUFFIX
from ..unet.architectures import Architecture
from ..unet.blocks import Layer
from ..utils.file_stamp import Stamp, file_stamp

if TYPE_CHECKING:
    from ..core.encoder_files import EncoderIdentity
    from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
    from ..models.network import Network
    from ..models.registry import ModelCard


Kinds = Sequence[tuple[Architecture, Sequence[Layer]]]
"""Families, each with the layers of a network, for which a style may be bound."""


@dataclass(frozen=True)
class AdapterFacts:
    """What is known of an adapter without loading its model. What is not on this machine is None.

    Attributes:
        architecture: The family of the network, with the blocks that the adapter reaches.
        features: Projection type, and width of what the adapter reads.
        checkpoint: Its file.
        layers: The layers that it reaches; empty where the architecture is None.
        sibling: The same of the other kind of adapters for a transformer, with which styles may be bound.
        encoder_source: Folder or file of its image encoder.
    """

    architecture: Architecture | None = None
    features: tuple[str, int] | None = None
    checkpoint: "IPAdapterCheckpoint | None" = None
    layers: Sequence[Layer] = ()
    sibling: "Network | None" = None
    encoder_source: Path | None = None

    @property
    def encoder(self) -> "EncoderIdentity | None":
        """Its image encoder; None where it is not on this machine, or cannot be read."""
        path = self.encoder_source
        if path is None:
            return None
        files = [path] if path.is_file() else sorted(filter(Path.is_file, path.glob("*")))
        return _read_identity(path, tuple(map(file_stamp, files)))

    def list_kinds(self) -> Kinds:
        """List families and layers for which a style may be bound: this adapter's, then those of the other kind."""
        own = [] if self.architecture is None else [(self.architecture, self.layers)]
        return own if self.sibling is None else [*own, (self.sibling.architecture, self.sibling.layers)]

    @property
    def is_unet(self) -> bool:
        """Whether the network is known, and a UNet."""
        return self.architecture is not None and not self.architecture.is_transformer


def find_facts(
    model: str, adapter: str | None, image_encoder: str | None, first: AdapterFacts | None = None
) -> AdapterFacts:
    """Find what is known of an adapter of a model; nothing where they cannot be found, which loading reports.

    Args:
        model: The model.
        adapter: Its adapter; None for its own.
        image_encoder: The adapter's image encoder; None for the one that loading finds.
        first: The adapter beside which it acts, whose image encoder it shares where that fits.
    """
    try:
        return _find_facts(model, adapter, image_encoder, first)
    except InstantStyleError:
        return AdapterFacts()


def _find_facts(
    model: str, adapter: str | None, image_encoder: str | None, first: AdapterFacts | None
) -> AdapterFacts:
    from ..models.network import find_network
    from ..models.resolve import resolve_card

    card, source = resolve_card(model, adapter)
    if source is None and card.adapter is not None and card.adapter_repo is None:
        source = card.folder / card.adapter
    checkpoint = _open_checkpoint(Path(source)) if isinstance(source, str | Path) else None
    network = find_network(card, checkpoint)
    features = card.features if checkpoint is None else (checkpoint.projection_type, checkpoint.embedding_dim)
    encoder = None if features is None else _find_encoder(card, features, image_encoder, first)
    if network is None:
        return AdapterFacts(None, features, checkpoint, encoder_source=encoder)
    own, sibling = network.architecture, None
    if own.is_transformer and not own.is_timed:
        sibling = find_network(card, all_blocks=not own.has_single_stream)
    return AdapterFacts(own, features, checkpoint, network.layers, sibling, encoder)


def _open_checkpoint(path: Path) -> "IPAdapterCheckpoint":
    """Open an adapter; one whose tensors stay in the file is opened once for each state of the file."""
    from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

    is_lazy = path.is_file() and (path.suffix == SUFFIX or is_archive(path))
    return _open_lazy_checkpoint(path, file_stamp(path)) if is_lazy else IPAdapterCheckpoint.open(path)


# A service asks for the same adapters with each request.
@lru_cache(maxsize=4)
def _open_lazy_checkpoint(path: Path, stamp: Stamp) -> "IPAdapterCheckpoint":
    from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

    return IPAdapterCheckpoint.open(path)


def _find_encoder(
    card: "ModelCard", features: tuple[str, int], given: str | None, first: AdapterFacts | None
) -> Path | None:
    """Find the image encoder that loading would take; None where it is not on this machine or not known."""
    from ..models.clip_sources import find_image_encoder_source
    from ..utils.hub import find_cached_file

    if given is None and first is not None:
        # Whether the first adapter's encoder serves it depends on its sizes; where it does not, another is loaded.
        same = first.features is not None and features[1] == first.features[1]
        return first.encoder_source if same else None
    path = Path(given) if given is not None else None
    if path is None and card.image_encoder is not None:
        path = card.folder / card.image_encoder
    if path is None and (source := find_image_encoder_source(*features)) is not None:
        file = find_cached_file(source.repo, source.files[0], source.revision)
        path = None if file is None else file.parent
    return path if path is not None and path.exists() else None


@lru_cache(maxsize=8)
def _read_identity(path: Path, stamps: tuple[Stamp, ...]) -> "EncoderIdentity | None":
    """Read what tells an image encoder from others; None of one that cannot be read, which loading reports."""
    from ..core.encoder_files import read_encoder_identity

    try:
        return read_encoder_identity(path)
    except CheckpointError:
        return None
