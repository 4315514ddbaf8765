"""Whether blocks and saved styles of recipes fit the network and the adapters of a model, before it is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InstantStyleError, StyleError
from ..loaders.projection_config import EMBEDDING_TYPES
from ..recipe import Recipe
from ..recipe_types import Reference
from ..unet.architectures import Architecture
from ..unet.blocks import BlockSpec, Layer, find_weight
from ..unet.probe_file import resolve_block_spec
from ..utils.text import shorten
from .load import list_adapter_blocks
from .sources import SourceCache

if TYPE_CHECKING:
    from ..core.style import Style
    from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint


_CHANGING_FIELDS = (
    *("content", "content_references", "content_scale", "removal", "mask_quantile"),
    *("texture_references", "colour_scale", "texture_scale"),
)
"""Fields that change a style, which is then no longer bound."""


@dataclass(frozen=True)
class AdapterFacts:
    """What is known of an adapter without loading its model. What is not on this machine is None.

    Attributes:
        architecture: The family of the network, with the blocks that the adapter reaches.
        features: Projection type, and width of what the adapter reads.
        checkpoint: Its file.
        layers: The layers that it reaches; empty where the architecture is None.
    """

    architecture: Architecture | None = None
    features: tuple[str, int] | None = None
    checkpoint: "IPAdapterCheckpoint | None" = None
    layers: Sequence[Layer] = ()

    @property
    def is_unet(self) -> bool:
        """Whether the network is known, and a UNet."""
        return self.architecture is not None and not self.architecture.is_transformer


@dataclass
class FitChecker:
    """Checks recipes; each model and adapter is looked at once."""

    _found: dict[tuple[str, str | None], AdapterFacts] = field(default_factory=dict)

    def check(self, recipe: Recipe, sources: SourceCache) -> None:
        """Check the blocks of a recipe, and the saved styles that act through its adapters.

        Args:
            recipe: The recipe.
            sources: Cache from which the saved styles are read.

        Raises:
            BlockError: The network has no such block, or no blocks with such a role.
            StyleError: An adapter does not read the embeddings of a saved style, or it is bound for other blocks.
        """
        first = self._look_at(recipe.model, recipe.adapter.name if recipe.adapter else None)
        own = (*recipe.references, *recipe.layout_references, *recipe.negative_references)
        saved = self._read_saved(own, sources)
        # In transformers a bound style brings the blocks of the adapter that it was bound with.
        if first.is_unet or not any(style.bindings for style in saved):
            _check_blocks(list_adapter_blocks(recipe), first.architecture)
        if first.is_unet:
            self._check_bound(recipe, first, sources)
        for style in saved:
            if not (style.bindings and _is_bound(style, first.architecture)):
                _check_reads(style, first, "the first adapter" if recipe.second_adapter else "")
        files = recipe.second_references or recipe.references
        if recipe.second_adapter is None or not recipe.second_scale or not files:
            return
        second = self._look_at(recipe.model, recipe.second_adapter.name)
        _check_blocks([recipe.second_blocks], second.architecture)
        name = recipe.second_adapter.name
        name = f"adapter {shorten(Path(name).stem if second.checkpoint else name)}"
        for style in self._read_saved(files, sources):
            try:
                if style.has_ingredients or not _is_bound_with(style, second):
                    _check_reads(style, second, name)
            except StyleError as error:
                if recipe.second_references:
                    raise
                raise StyleError(
                    f"{error} Give images, which every adapter encodes, or set second_scale to 0."
                ) from None

    def _check_bound(self, recipe: Recipe, adapter: AdapterFacts, sources: SourceCache) -> None:
        """Check that styles which act as they are bound are bound for the blocks that a recipe selects."""
        family = adapter.architecture
        changes = any(getattr(recipe, name) not in (None, ()) for name in _CHANGING_FIELDS)
        if family is None or not recipe.scale or changes:
            return
        groups = [(recipe.references, recipe.blocks), (recipe.layout_references, "layout")]
        for files, blocks in [*groups, (recipe.negative_references, recipe.blocks)]:
            # A mix of several is bound for none.
            for style in self._read_saved(files, sources) if len(files) == 1 else ():
                if (bound := style.bound_for(family.name)) is not None:
                    weights = family.select(resolve_block_spec(blocks, family))
                    bound.check_covers([layer for layer in adapter.layers if find_weight(weights, layer)], style.label)

    def _look_at(self, model: str, adapter: str | None) -> AdapterFacts:
        """Find what is known of an adapter of a model; nothing where they cannot be found, which loading reports."""
        if (model, adapter) not in self._found:
            try:
                self._found[model, adapter] = _find_facts(model, adapter)
            except InstantStyleError:
                self._found[model, adapter] = AdapterFacts()
        return self._found[model, adapter]

    @staticmethod
    def _read_saved(files: Sequence[Reference], sources: SourceCache) -> "list[Style]":
        return [sources.read_style(file) for file in files if sources.resolve(file.name).kind == "style"]


def _find_facts(model: str, adapter: str | None) -> AdapterFacts:
    from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
    from ..models.network import find_network
    from ..models.resolve import resolve_card

    card, source = resolve_card(model, adapter)
    if source is None and card.adapter is not None and card.adapter_repo is None:
        source = Path(card.pipeline) / card.adapter
    checkpoint = None if source is None else IPAdapterCheckpoint.open(source)
    network = find_network(card, checkpoint)
    features = card.features if checkpoint is None else (checkpoint.projection_type, checkpoint.embedding_dim)
    if network is None:
        return AdapterFacts(None, features, checkpoint)
    return AdapterFacts(network.architecture, features, checkpoint, network.layers)


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


def _is_bound(style: "Style", architecture: Architecture | None) -> bool:
    """Whether a style that is bound is so for a family; True where that is not known."""
    if architecture is None or architecture.is_transformer:
        return True
    return style.bound_for(architecture.name) is not None


def _is_bound_with(style: "Style", adapter: AdapterFacts) -> bool:
    """Whether a style without embeddings is bound with an adapter; True where that is not known."""
    from ..utils.weight_fingerprint import fingerprint_weights

    if adapter.checkpoint is None or adapter.architecture is None:
        return True
    bound = style.bound_for(adapter.architecture.name)
    weights = {name: tensor.float() for name, tensor in adapter.checkpoint.read_projection().items()}
    return bound is not None and bound.adapter == fingerprint_weights(weights)
