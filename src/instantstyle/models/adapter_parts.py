"""The adapters of a model, each with its image encoder: found, checked and opened."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from ..core.image_encoder import ImageEncoder
from ..core.pipeline import InstantStyle
from ..core.style_builder import StyleBuilder
from ..core.text_encoder import TextEncoder
from ..errors import CheckpointError, ModelError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..loaders.weight_files import find_adapter
from ..recipe_types import RecipeFields, Reference
from ..utils.hub import fetch_file, why_unreachable
from .clip_sources import TEXT_SOURCES, LazyTextEncoder, find_image_encoder_source, unknown_image_encoder_error
from .conflicts import find_conflicts, missing_adapter_error
from .registry import CARDS, ModelCard
from .required_files import RequiredFile, list_missing, list_required_files, missing_files_error
from .resolve import AdapterSource, ImageEncoderLike, resolve_card

CONTENT_ADVICE = "Give a picture of the content instead: content_image (--content-image), in Python content=Path(…)."
"""How content can be removed without a text encoder, with a model that was loaded from its files."""

AdapterLike = AdapterSource | Reference
"""An adapter as in `AdapterSource`, or the entry of a recipe for one, whose SHA-256 is compared."""


@dataclass(frozen=True, eq=False)
class AdapterParts:
    """An adapter with its image encoder.

    Attributes:
        card: The model, with this adapter if that is another model's.
        adapter: The adapter; None for that of the card.
        image_encoder: The image encoder; None for the card's, or the one that the adapter needs.
        name: Name among several adapters; empty for the first.
        entry: The entry of a recipe for a further adapter; None for one in memory, and for the first.
    """

    card: ModelCard
    adapter: AdapterSource | None
    image_encoder: ImageEncoderLike | None
    name: str = ""
    entry: Reference | None = None

    @classmethod
    def of_further(cls, model: str, number: int, source: object, encoder: ImageEncoderLike | None) -> "AdapterParts":
        """Find an adapter beside the first one, without reading its tensors.

        Args:
            model: Name of the model.
            number: Number of the adapter, from 2.
            source: The adapter, an `AdapterLike`.
            encoder: Its image encoder.

        Raises:
            ModelError: There is no such adapter, it is another file than a recipe says, or its model has another
                network.
        """
        given = source.name if isinstance(source, Reference) else source
        if given is None:
            raise ModelError(f"Adapter {number} is None; only the first is the model's own. Name a file or a model.")
        card, adapter = resolve_card(model, cast(AdapterSource, given))
        if not isinstance(given, str | Path):
            return cls(card, adapter, encoder, f"adapter {number}")
        is_registered = str(given) in CARDS
        digest = None if is_registered else find_adapter(given).sha256()
        _check_entry(source, digest)
        name = str(given) if is_registered else Path(given).stem
        return cls(card, adapter, encoder, name, Reference(name=str(given), sha256=digest))

    @classmethod
    def of_first(cls, model: str, source: object, encoder: ImageEncoderLike | None) -> "AdapterParts":
        """Find the first adapter of a model, without reading its tensors.

        Args:
            model: Name of the model.
            source: The adapter, an `AdapterLike`; None for the model's own.
            encoder: Its image encoder.

        Raises:
            ModelError: There is no such adapter, it is another file than a recipe says, or its model has another
                network.
        """
        given = source.name if isinstance(source, Reference) else source
        card, adapter = resolve_card(model, cast("AdapterSource | None", given))
        if isinstance(source, Reference) and source.sha256 is not None:
            _check_entry(source, None if source.name in CARDS else find_adapter(source.name).sha256())
        return cls(card, adapter, encoder)

    def validate(self, first: "AdapterParts | None" = None) -> None:
        """Check that all files are there or can be downloaded, and that they fit together.

        Args:
            first: The first adapter, whose image encoder is shared where it fits; None for the first itself.

        Raises:
            ModelError: Files are missing and cannot be downloaded, or there is no adapter.
            CheckpointError: The adapter or image encoder does not fit, or cannot be read.
        """
        if self.adapter is None and self.card.adapter is None:
            raise missing_adapter_error(self.card)
        encoder = self.image_encoder
        if encoder is None and first is not None and first.image_encoder is not None:
            files = list_required_files(self.card, self.adapter, first.image_encoder)
            encoder = (
                None
                if any(find_conflicts(self.card, self.adapter, first.image_encoder, files))
                else (first.image_encoder)
            )
        files = list_required_files(self.card, self.adapter, encoder)
        conflicts = list(find_conflicts(self.card, self.adapter, encoder, files))
        # Before missing files: what an adapter for another network needs is not worth a download.
        for error in conflicts:
            if isinstance(error, CheckpointError):
                raise error
        validate_files(self.card, files)
        for error in conflicts:
            raise error

    def open_checkpoint(self) -> IPAdapterCheckpoint:
        """Open the adapter; fetch the registry's."""
        if isinstance(self.adapter, str | Path):
            checkpoint = IPAdapterCheckpoint.open(self.adapter)
            name = str(self.adapter)
            checkpoint.file = self.entry or Reference(name=name, sha256=find_adapter(name).sha256())
            return checkpoint
        if self.adapter is not None:
            return IPAdapterCheckpoint.open(self.adapter)
        card = self.card
        if card.adapter_repo is None:
            return IPAdapterCheckpoint.open(card.folder / str(card.adapter))
        return IPAdapterCheckpoint.open(fetch_file(card.adapter_repo, str(card.adapter), card.revision))

    def open_encoder(self, checkpoint: IPAdapterCheckpoint, dtype: torch.dtype) -> ImageEncoder:
        """Open the image encoder: the given one, the model's own, or the one whose width fits the adapter's tensors.

        Raises:
            CheckpointError: It does not fit, or cannot be read.
            ModelError: None is known.
        """
        needed, card = (checkpoint.projection_type, checkpoint.embedding_dim), self.card
        encoder = self.image_encoder
        if encoder is None and card.image_encoder is not None:
            encoder = card.folder / card.image_encoder
        if encoder is None:
            source = find_image_encoder_source(*needed)
            if source is None:
                raise unknown_image_encoder_error(*needed)
            encoder = source.fetch()[0].parent
        opened = ImageEncoder.open(encoder, dtype)
        opened.check_fits(*needed)
        return opened

    def add_to(
        self,
        styled: InstantStyle,
        dtype: torch.dtype,
        keep_encoder: bool,
        text_encoder: tuple[Any, Any] | None = None,
    ) -> None:
        """Add this adapter to a model, with the first one's image encoder where none is given and that fits.

        Args:
            styled: The model.
            dtype: That of an image encoder that is loaded.
            keep_encoder: Whether the image encoder stays in memory after references are encoded.
            text_encoder: Model and tokenizer for removing content in place of the pipeline's; used where it fits.

        Raises:
            CheckpointError: Adapter or encoder does not fit, or cannot be read.
            ModelError: No image encoder is known, or the name is taken.
        """
        checkpoint, first = self.open_checkpoint(), styled.image_encoder
        encoder = first if self.image_encoder is None and _fits(first, checkpoint) else None
        if encoder is None:
            encoder = self.open_encoder(checkpoint, dtype)
            encoder.model.to(first.model.device)
        styled.add_adapter(
            checkpoint,
            image_encoder=encoder,
            text_encoder=fitting_text_encoder(text_encoder, checkpoint),
            name=self.name,
            keep_encoder=keep_encoder,
        )
        *others, added = styled.further
        styled.further = (*others, with_text_encoder(added))


def list_adapters(model: str, adapter: object, image_encoder: object) -> list[AdapterParts]:
    """Find the adapters that `load` is called with.

    Args:
        model: Name of the model.
        adapter: One adapter, or a list of them.
        image_encoder: An image encoder for the first adapter, or a list with one or None for each.

    Raises:
        ModelError: There is no such adapter, or there are more encoders than adapters.
    """
    sources = list(cast("Sequence[object]", adapter)) if isinstance(adapter, list | tuple) else [adapter]
    several = isinstance(image_encoder, list | tuple)
    encoders = list(cast("Sequence[object]", image_encoder)) if several else [image_encoder]
    if not sources or len(encoders) > len(sources):
        raise ModelError(f"There are {len(encoders)} image encoders for {len(sources)} adapters; give one for each.")
    encoders += [None] * (len(sources) - len(encoders))
    first = AdapterParts.of_first(model, sources[0], encoders[0])
    further = zip(sources[1:], encoders[1:], strict=True)
    return [first, *(AdapterParts.of_further(model, number, *each) for number, each in enumerate(further, start=2))]


def _check_entry(source: object, digest: str | None) -> None:
    """Raise `ModelError` where the entry of a recipe has another SHA-256 than the file that it names."""
    if isinstance(source, Reference) and source.sha256 not in (None, digest):
        raise ModelError(
            f"{source.name} is another file than the image was generated with (its sha256 is {str(digest)[:12]}…, "
            f"expected {str(source.sha256)[:12]}…)."
        )


def second_adapter_fields(adapters: Sequence[AdapterParts]) -> RecipeFields | None:
    """Return the fields of a recipe for a second adapter; None where a recipe cannot name the adapters."""
    if len(adapters) == 1:
        return {}
    [second, *others] = adapters[1:]
    encoder = second.image_encoder
    if others or second.entry is None or not isinstance(encoder, str | Path | None):
        return None
    return {"second_adapter": second.entry, "second_image_encoder": None if encoder is None else str(encoder)}


def with_text_encoder(builder: StyleBuilder) -> StyleBuilder:
    """Return a builder that fetches a text encoder when it is needed, where it has none and one is known.

    Where none is known, the error says what all faces can do: only the constructor takes a text encoder.
    """
    checkpoint, encoder = builder.adapter.checkpoint, builder.require_reference_encoder().encoder
    source = TEXT_SOURCES.get(checkpoint.embedding_dim) if checkpoint else None
    if checkpoint is None or source is None or builder.text_encoder or not checkpoint.reads_embedding:
        return replace(builder, content_advice=CONTENT_ADVICE)
    text_encoder = LazyTextEncoder(source, checkpoint.embedding_dim, encoder.model.device)
    return replace(builder, text_encoder=text_encoder)


def validate_files(card: ModelCard, files: Sequence[RequiredFile]) -> None:
    """Raise `ModelError` for all files that are missing and cannot be downloaded."""
    missing = list_missing(files)
    local = [file for file in missing if not file.on_hub]
    if local or (missing and why_unreachable()):
        raise missing_files_error(card, local or missing)


def fitting_text_encoder(
    text_encoder: tuple[Any, Any] | None, checkpoint: IPAdapterCheckpoint
) -> tuple[Any, Any] | None:
    """Return a text encoder if it projects to the space of an adapter's embeddings, else None."""
    fits = text_encoder is not None and TextEncoder(*text_encoder).projection_dim == checkpoint.embedding_dim
    return text_encoder if fits and checkpoint.reads_embedding else None


def _fits(encoder: ImageEncoder, checkpoint: IPAdapterCheckpoint) -> bool:
    try:
        encoder.check_fits(checkpoint.projection_type, checkpoint.embedding_dim)
    except CheckpointError:
        return False
    return True
