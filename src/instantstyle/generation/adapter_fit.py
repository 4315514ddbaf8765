"""Whether blocks and saved styles of recipes fit the network and the adapters of a model, before it is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointError, InstantStyleError, StyleError
from ..loaders.projection_config import EMBEDDING_TYPES
from ..recipe import Recipe
from ..recipe_types import Reference
from ..unet.architectures import Architecture
from ..unet.blocks import BlockSpec, Layer, find_weight
from ..unet.probe_file import resolve_block_spec
from ..utils.text import shorten
from .sources import SourceCache

if TYPE_CHECKING:
    from ..core.encoder_files import EncoderIdentity
    from ..core.style import Style
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
        encoder: Its image encoder.
    """

    architecture: Architecture | None = None
    features: tuple[str, int] | None = None
    checkpoint: "IPAdapterCheckpoint | None" = None
    layers: Sequence[Layer] = ()
    sibling: "Network | None" = None
    encoder: "EncoderIdentity | None" = None

    def list_kinds(self) -> Kinds:
        """List families and layers for which a style may be bound: this adapter's, then those of the other kind."""
        own = [] if self.architecture is None else [(self.architecture, self.layers)]
        return own if self.sibling is None else [*own, (self.sibling.architecture, self.sibling.layers)]

    @property
    def is_unet(self) -> bool:
        """Whether the network is known, and a UNet."""
        return self.architecture is not None and not self.architecture.is_transformer


@dataclass
class FitChecker:
    """Checks recipes; each model and adapter is looked at once."""

    _found: dict[tuple[str | None, ...], AdapterFacts] = field(default_factory=dict)

    def check(self, recipe: Recipe, sources: SourceCache) -> None:
        """Check the blocks of a recipe, and the saved styles that act through its adapters.

        Args:
            recipe: The recipe.
            sources: Cache from which the saved styles are read.

        Raises:
            BlockError: The network has no such block, or no blocks with such a role.
            StyleError: An adapter does not read the embeddings of a saved style, it was made with another image
                encoder, or it is bound for other blocks.
        """
        first = self._look_at(recipe.model, recipe.adapter.name if recipe.adapter else None, recipe.image_encoder)
        # A style acts as it is bound with the other kind of adapter where there is no second adapter.
        kinds = first.list_kinds()[: 1 if recipe.second_adapter else None]
        own = (*recipe.references, *recipe.layout_references, *recipe.negative_references)
        saved = self._read_saved(own, sources)
        # In transformers a bound style brings the blocks of the adapter that it was bound with.
        if first.is_unet or not any(style.bindings for style in saved):
            _check_blocks(list_adapter_blocks(recipe), first.architecture)
        acting = self._check_bound(recipe, kinds, sources)
        for style in saved:
            if not (style.bindings and _is_bound(style, kinds)):
                _check_reads(style, first, "the first adapter" if recipe.second_adapter else "")
        for style in [*saved, *self._read_saved(recipe.texture_references, sources)]:
            if first.encoder is not None and style not in acting:
                style.check_encoder(first.encoder)
        files = recipe.second_references or recipe.references
        if recipe.second_adapter is None or not recipe.second_scale or not files:
            return
        second = self._look_at(recipe.model, recipe.second_adapter.name, recipe.second_image_encoder, first)
        _check_blocks([recipe.second_blocks], second.architecture)
        name = recipe.second_adapter.name
        name = f"adapter {shorten(Path(name).stem if second.checkpoint else name)}"
        for style in self._read_saved(files, sources):
            try:
                if style.has_ingredients or not _is_bound_with(style, second):
                    _check_reads(style, second, name)
                    if second.encoder is not None:
                        style.check_encoder(second.encoder)
            except StyleError as error:
                if recipe.second_references:
                    raise
                raise StyleError(
                    f"{error} Give images, which every adapter encodes, or set second_scale to 0."
                ) from None

    def _check_bound(self, recipe: Recipe, kinds: Kinds, sources: SourceCache) -> "list[Style]":
        """Check that styles which act as they are bound are bound for the blocks that a recipe selects.

        Returns:
            The saved styles that act as they are bound, whichever encoder they were made with. Those of a mix are
            among them if they are bound for anything: whether the mix is bound is not looked at.
        """
        acting: list[Style] = []
        groups = [(recipe.references, recipe.blocks), (recipe.layout_references, "layout")]
        for files, blocks in [*groups, (recipe.negative_references, recipe.blocks)]:
            for style in self._read_saved(files, sources):
                if len(files) > 1 or not kinds:
                    acting += [style] if style.bindings else []
                    continue
                used = _without_content(style, recipe) if files is recipe.references else style
                family, layers = next((kind for kind in kinds if used and used.bound_for(kind[0].name)), (None, ()))
                bound = None if used is None or family is None else used.bound_for(family.name)
                if bound is None or family is None:
                    continue
                acting.append(style)
                if recipe.scale:
                    weights = family.select(resolve_block_spec(blocks, family))
                    bound.check_covers([layer for layer in layers if find_weight(weights, layer)], style.label)
        return acting

    def _look_at(
        self, model: str, adapter: str | None, image_encoder: str | None, first: AdapterFacts | None = None
    ) -> AdapterFacts:
        """Find what is known of an adapter of a model; nothing where they cannot be found, which loading reports.

        Args:
            model: The model.
            adapter: Its adapter; None for its own.
            image_encoder: The adapter's image encoder; None for the one that loading finds.
            first: The adapter beside which it acts, whose image encoder it shares where that fits.
        """
        key = model, adapter, image_encoder, None if first is None else str(first.encoder)
        if key not in self._found:
            try:
                self._found[key] = _find_facts(model, adapter, image_encoder, first)
            except InstantStyleError:
                self._found[key] = AdapterFacts()
        return self._found[key]

    @staticmethod
    def _read_saved(files: Sequence[Reference], sources: SourceCache) -> "list[Style]":
        return [sources.read_style(file) for file in files if sources.resolve(file.name).kind == "style"]


def _find_facts(
    model: str, adapter: str | None, image_encoder: str | None, first: AdapterFacts | None
) -> AdapterFacts:
    from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
    from ..models.network import find_network
    from ..models.resolve import resolve_card

    card, source = resolve_card(model, adapter)
    if source is None and card.adapter is not None and card.adapter_repo is None:
        source = card.folder / card.adapter
    checkpoint = None if source is None else IPAdapterCheckpoint.open(source)
    network = find_network(card, checkpoint)
    features = card.features if checkpoint is None else (checkpoint.projection_type, checkpoint.embedding_dim)
    encoder = None if features is None else _find_encoder(card, features, image_encoder, first)
    if network is None:
        return AdapterFacts(None, features, checkpoint, encoder=encoder)
    own, sibling = network.architecture, None
    if own.is_transformer and not own.is_timed:
        sibling = find_network(card, all_blocks=not own.has_single_stream)
    return AdapterFacts(own, features, checkpoint, network.layers, sibling, encoder)


def _find_encoder(
    card: "ModelCard", features: tuple[str, int], given: str | None, first: AdapterFacts | None
) -> "EncoderIdentity | None":
    """Find the image encoder that loading would take; None where it is not on this machine or not known."""
    from ..models.clip_sources import find_image_encoder_source
    from ..utils.hub import find_cached_file

    if given is None and first is not None:
        # Whether the first adapter's encoder serves it depends on its sizes; where it does not, another is loaded.
        same = first.features is not None and features[1] == first.features[1]
        return first.encoder if same else None
    path = Path(given) if given is not None else None
    if path is None and card.image_encoder is not None:
        path = card.folder / card.image_encoder
    if path is None and (source := find_image_encoder_source(*features)) is not None:
        file = find_cached_file(source.repo, source.files[0], source.revision)
        path = None if file is None else file.parent
    if path is None or not path.exists():
        return None
    config = path if path.is_file() else path / "config.json"
    return _read_identity(path, config.stat().st_mtime_ns) if config.is_file() else None


# A service asks for the same encoder with each request.
@lru_cache(maxsize=8)
def _read_identity(path: Path, stamp: int) -> "EncoderIdentity | None":
    """Read what tells an image encoder from others; None of one that cannot be read, which loading reports."""
    from ..core.encoder_files import read_encoder_identity

    try:
        return read_encoder_identity(path)
    except CheckpointError:
        return None


def _without_content(style: "Style", recipe: Recipe) -> "Style | None":
    """Return a style with the settings of a recipe for its references; None where others act on it.

    The recipe of an image has the settings of its style, so that most change nothing.
    """
    others = (recipe.content, recipe.content_references, recipe.texture_references)
    if any(others) or recipe.content_scale == "auto":
        return None
    try:
        style = style.with_removal(recipe.content_scale, recipe.removal, recipe.mask_quantile)
        return style.with_blend(recipe.colour_scale, recipe.texture_scale) if style.texture else style
    except StyleError:
        # Generating reports it.
        return None


def list_adapter_blocks(recipe: Recipe) -> Sequence[BlockSpec]:
    """List the selections of blocks in which the first adapter acts."""
    acting: list[tuple[BlockSpec, object]] = [
        (recipe.blocks, recipe.references),
        ("layout", recipe.layout_references),
        ("all", recipe.image and recipe.image_scale),
    ]
    return [spec for spec, given in acting if given]


def _check_blocks(specs: Sequence[BlockSpec], architecture: Architecture | None) -> None:
    if architecture is None:
        return
    for spec in specs:
        architecture.select(resolve_block_spec(spec, architecture))


def _check_reads(style: "Style", adapter: AdapterFacts, name: str) -> None:
    """Check that an adapter reads the embeddings of a style; nothing where it is not known.

    Args:
        style: The style.
        adapter: The adapter.
        name: Name of the adapter in the message; empty for the only one.
    """
    if adapter.features is None:
        return
    projection_type, width = adapter.features
    try:
        style.check_read_by(projection_type in EMBEDDING_TYPES, width)
    except StyleError as error:
        if not name:
            raise
        raise StyleError(f"A style is to act through {name}, which cannot use it: {error}") from None


def _is_bound(style: "Style", kinds: Kinds) -> bool:
    """Whether a style that is bound is so for one of these families; True where none is known."""
    return not kinds or any(style.bound_for(family.name) is not None for family, _ in kinds)


def _is_bound_with(style: "Style", adapter: AdapterFacts) -> bool:
    """Whether a style without embeddings is bound with an adapter; True where that is not known."""
    from ..utils.weight_fingerprint import fingerprint_weights

    if adapter.checkpoint is None or adapter.architecture is None:
        return True
    bound = style.bound_for(adapter.architecture.name)
    weights = {name: tensor.float() for name, tensor in adapter.checkpoint.read_projection().items()}
    return bound is not None and bound.adapter == fingerprint_weights(weights)
