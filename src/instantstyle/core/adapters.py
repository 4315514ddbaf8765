"""Several adapters on one pipeline: which of them computes the keys and values of a style."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from ..errors import CheckpointError, ModelError, StyleError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..loaders.state_dict import StateDictSource
from ..utils.text import join_first, shorten
from .conditioning import StyleConditioning
from .image_encoder import ImageEncoder
from .injection import StyleLayers
from .ip_adapter import IPAdapter
from .protocols import Network, Pipeline, network_of
from .reference_inputs import ReferenceLike
from .style import Style
from .style_builder import StyleBuilder

Builders = Sequence[StyleBuilder]
"""The adapters of a pipeline with their encoders; the first one has no name."""


def open_further(
    pipe: Pipeline,
    builders: Builders,
    adapter: StateDictSource | IPAdapterCheckpoint,
    image_encoder: object,
    text_encoder: tuple[object, object] | None,
    name: str | None,
    keep_encoder: bool,
) -> StyleBuilder:
    """Open an adapter beside others, see `InstantStyle.add_adapter`.

    Raises:
        CheckpointError: Adapter or encoder cannot be read, or do not fit.
        ModelError: The name is taken or missing, or there is no first adapter.
        StyleError: The text encoder does not share the image encoder's space.
    """
    if builders[0].reference_encoder is None:
        raise ModelError("A further adapter needs a first one beside it, and this pipeline has none; pass adapter=.")
    name = Path(adapter).stem if name is None and isinstance(adapter, str | Path) else name
    if not isinstance(name, str) or not name.strip():
        raise ModelError("An adapter that is not a file needs a name, by which styles are made for it; pass name=.")
    if name in (builder.name for builder in builders):
        raise ModelError(f"There is an adapter {shorten(name)} already; pass another name=.")
    checkpoint = IPAdapterCheckpoint.open(adapter)
    opened = IPAdapter(checkpoint, network_of(pipe), builders[0].adapter.architecture)
    encoder = _find_encoder(builders, checkpoint) if image_encoder is None else image_encoder
    return replace(StyleBuilder.open(pipe, opened, encoder, text_encoder, keep_encoder), name=name)


def _find_encoder(builders: Builders, checkpoint: IPAdapterCheckpoint) -> ImageEncoder:
    """Return the encoder of an earlier adapter that fits another one; the first where none does."""
    encoders = [builder.require_reference_encoder().encoder for builder in builders]

    def fits(encoder: ImageEncoder) -> bool:
        try:
            encoder.check_fits(checkpoint.projection_type, checkpoint.embedding_dim)
        except CheckpointError:
            return False
        return True

    return next(filter(fits, encoders), encoders[0])


def find_named(builders: Builders, name: str | None) -> StyleBuilder:
    """Return the adapter of a name; None or an empty name is the first.

    Raises:
        StyleError: There is no such adapter.
    """
    found = next((builder for builder in builders if builder.name == (name or "")), None)
    if found is None:
        further = [builder.name for builder in builders[1:]]
        has = f"there are the first and {join_first(further)}" if further else "there is only the first"
        raise StyleError(f"There is no adapter {shorten(name)}; {has}. Add it: styled.add_adapter(…).")
    return found


def find_builder(builders: Builders, style: Style) -> StyleBuilder:
    """Return the adapter that a style was made for, or the first that reads its embeddings.

    Args:
        builders: The adapters.
        style: The style. One of a file, which names no adapter, belongs to the first that fits.

    Returns:
        The adapter; the first where the style fits none, or is bound for the family and names none of these. For a
        style that is bound with a kind of adapter that is not here, a builder of that kind without an adapter.

    Raises:
        StyleError: The style was made for an adapter that is not here.
    """
    first = builders[0]
    bound = next((builder for builder in _with_siblings(builders) if _is_bound_for(style, builder)), None)
    if style.adapter and not (bound and style.adapter not in (builder.name for builder in builders)):
        return find_named(builders, style.adapter)
    return bound or next((builder for builder in builders if _fits(builder, style)), first)


def find_builder_of(builders: Builders, style: object) -> StyleBuilder:
    """Return the adapter of a ready style, or of the first in a list; the first adapter for references."""
    first = next(iter(cast("Sequence[object]", style)), None) if isinstance(style, list | tuple) else style
    return find_builder(builders, first) if isinstance(first, Style) else builders[0]


def as_negative(builders: Builders, negative: Style | ReferenceLike, style: object) -> Style:
    """Return a negative style; one of a reference is for the adapter of the style beside it."""
    builder = find_builder_of(builders, style)
    # A style may be bound with a kind of adapter that is not here, which makes no style of a reference.
    builder = builders[0] if builder.adapter.checkpoint is None else builder
    ready = builder.as_style(negative)
    return assign_adapter(builder, ready) if builder.name and not isinstance(negative, Style) else ready


def _is_bound_for(style: Style, builder: StyleBuilder) -> bool:
    return style.bound_for(builder.adapter.family) is not None


def _with_siblings(builders: Builders) -> list[StyleBuilder]:
    """Return the adapters, and at the end those without a checkpoint, for styles that other kinds have bound."""
    siblings = [builder.adapter.sibling for builder in builders]
    return [*builders, *(StyleBuilder(each, None, None) for each in siblings if each is not None)]


def assign_adapter(builder: StyleBuilder, style: Style) -> Style:
    """Return a style that acts through an adapter, whichever it was made for.

    Args:
        builder: The adapter.
        style: The style. The first adapter uses bound keys and values as they are, as every pipeline of the family
            does. A further one uses those of a style that was made for it, and else computes them from the embeddings.

    Raises:
        StyleError: The adapter does not read the embeddings of the style, or it has none.
    """
    bound = style.bound_for(builder.adapter.family)
    if bound is not None and builder.name and style.adapter != builder.name:
        if style.has_ingredients:
            style = replace(style, bindings=tuple(other for other in style.bindings if other is not bound))
            bound = None
        elif bound.adapter != builder.adapter.fingerprint:
            bound = None
    if bound is None:
        try:
            _check_fits(builder, style)
        except StyleError as error:
            raise StyleError(f"A style is to act through {_describe(builder)}, which cannot use it: {error}") from None
    return replace(style, adapter=builder.name)


def _fits(builder: StyleBuilder, style: Style) -> bool:
    try:
        _check_fits(builder, style)
    except StyleError:
        return False
    return True


def _check_fits(builder: StyleBuilder, style: Style) -> None:
    """Raise `StyleError` for a style whose embeddings the adapter does not read."""
    builder.adapter.check_made_for(style)
    builder.check_encoders([style])


def style_layers(builders: Builders, conditioning: StyleConditioning) -> StyleLayers:
    """Compute the keys and values of a conditioning with the adapter of its styles.

    Raises:
        BlockError: The network has no such block.
        StyleError: Its styles were made for several adapters, or for none of these.
    """
    chosen = [(style, find_builder(builders, style)) for style in conditioning.all_styles]
    unbound = [(style, builder) for style, builder in chosen if not _is_bound_for(style, builder)]
    style, builder = unbound[0] if unbound else chosen[0]
    others = [(each, its) for each, its in chosen if its.adapter is not builder.adapter]
    if other := next((pair for pair in others if not _is_bound_for(pair[0], builder)), None):
        raise StyleError(
            f"{style.name} is for {_describe(builder)}, and {other[0].name} in the same conditioning for "
            f"{_describe(other[1])}; give each adapter a StyleConditioning of its own."
        )
    builder.check_encoders(conditioning.all_styles)
    return builder.adapter.style_layers(conditioning)


def _describe(builder: StyleBuilder) -> str:
    if builder.adapter.checkpoint is None:
        return f"adapters of {builder.adapter.family}"
    return f"adapter {shorten(builder.name)}" if builder.name else "the first adapter"


def fit_to_network(builders: Builders, unet: Network) -> list[StyleBuilder]:
    """Return the same adapters and encoders for another UNet.

    Raises:
        CheckpointError: An adapter does not fit.
    """
    return [replace(builder, adapter=IPAdapter(builder.adapter.checkpoint, unet)) for builder in builders]
