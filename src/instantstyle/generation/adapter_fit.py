"""Whether blocks and saved styles of recipes fit the network and the adapters of a model, before it is loaded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InstantStyleError, StyleError
from ..loaders.projection_config import EMBEDDING_TYPES
from ..recipe import Recipe
from ..recipe_types import Reference
from ..unet.architectures import Architecture
from ..unet.blocks import BlockSpec, find_weight
from ..unet.probe_file import resolve_block_spec
from ..utils.text import shorten
from .adapter_facts import AdapterFacts, Kinds, find_facts
from .keep_content import fill_in_start
from .sources import SourceCache

if TYPE_CHECKING:
    from ..core.bound_style import BoundKeyValues
    from ..core.encoder_files import EncoderIdentity
    from ..core.style import Style


def check_fit(recipe: Recipe, sources: SourceCache) -> None:
    """Check the blocks of a recipe, and the saved styles that act through its adapters.

    Args:
        recipe: The recipe.
        sources: Cache from which the saved styles are read.

    Raises:
        BlockError: The network has no such block, or no blocks with such a role.
        StyleError: An adapter does not read the embeddings of a saved style, it was made with another image
            encoder, it is bound for other blocks or steps, or saved styles cannot be mixed or blended.
    """
    files = recipe.style_files()
    if not files and not list_adapter_blocks(recipe):
        return
    first = find_facts(recipe.model, recipe.adapter.name if recipe.adapter else None, recipe.image_encoder)
    # A style acts as it is bound with the other kind of adapter where there is no second adapter.
    kinds = first.list_kinds()[: 1 if recipe.second_adapter else None]
    groups = [(recipe.references, recipe.blocks), (recipe.layout_references, "layout")]
    groups.append((recipe.negative_references, recipe.blocks))
    encoder = first.encoder
    acting = [(style, blocks, files) for files, blocks in groups for style in _read_acting(files, sources, encoder)]
    # In transformers a bound style brings the blocks of the adapter that it was bound with.
    if first.is_unet or not any(style.bindings for style, *_ in acting):
        _check_blocks(list_adapter_blocks(recipe), first.architecture)
    _check_blend(recipe, sources)
    for style, blocks, files in acting:
        is_changed = files is recipe.references and _changes_content(recipe)
        if not is_changed and _check_bound(style, blocks, recipe, kinds, with_settings=files is recipe.references):
            continue
        if is_changed or not style.bindings or not _is_bound(style, kinds):
            _check_reads(style, first, "the first adapter" if recipe.second_adapter else "")
        if encoder is not None:
            style.check_encoder(encoder)
    for style in _read_acting(recipe.texture_references, sources, encoder):
        if encoder is not None:
            style.check_encoder(encoder)
    _check_second(recipe, first, sources)


def _read_acting(
    files: Sequence[Reference], sources: SourceCache, encoder: "EncoderIdentity | None" = None
) -> "list[Style]":
    """Read the saved styles of a group of references as they act: as their mix, or by their embeddings beside images.

    Args:
        files: The references.
        sources: Cache from which the styles are read.
        encoder: The image encoder of the adapter, where it is known.

    Raises:
        StyleError: A style cannot be read, they cannot be mixed, or one beside an image has no embeddings.
    """
    saved = [file for file in files if sources.resolve(file.name).kind == "style"]
    styles = [sources.read_style(file) for file in saved]
    if saved and len(saved) == len(files):
        # Names the part that does not fit; that the parts differ is said otherwise.
        if len(files) > 1 and encoder is not None and all(style.has_ingredients for style in styles):
            for style in styles:
                style.check_encoder(encoder)
        return [sources.read_mix(files)]
    for style in styles:
        style.check_ingredients()
    return [replace(style, bindings=()) for style in styles]


def list_adapter_blocks(recipe: Recipe) -> Sequence[BlockSpec]:
    """List the selections of blocks in which the first adapter acts."""
    acting: list[tuple[BlockSpec, object]] = [
        (recipe.blocks, recipe.references),
        ("layout", recipe.layout_references),
        ("all", recipe.image and recipe.image_scale),
    ]
    return [spec for spec, given in acting if given]


def _check_second(recipe: Recipe, first: AdapterFacts, sources: SourceCache) -> None:
    """Check the blocks and the saved styles of the second adapter."""
    files = recipe.second_references or recipe.references
    if recipe.second_adapter is None or not recipe.second_scale or not files:
        return
    second = find_facts(recipe.model, recipe.second_adapter.name, recipe.second_image_encoder, first)
    _check_blocks([recipe.second_blocks], second.architecture)
    name = recipe.second_adapter.name
    name = f"adapter {shorten(Path(name).stem if second.checkpoint else name)}"
    try:
        for style in _read_acting(files, sources, second.encoder):
            if style.has_ingredients or not _is_bound_with(style, second):
                _check_reads(style, second, name)
                if second.encoder is not None:
                    style.check_encoder(second.encoder)
    except StyleError as error:
        if recipe.second_references:
            raise
        raise StyleError(f"{error} Give images, which every adapter encodes, or set second_scale to 0.") from None


def _check_blend(recipe: Recipe, sources: SourceCache) -> None:
    """Check that the saved styles of a blend have what it needs of their images made grey."""
    if not recipe.references or not recipe.texture_references:
        return
    from ..core.style_blending import blendable_grey

    for files in (recipe.references, recipe.texture_references):
        for style in _read_acting(files, sources):
            blendable_grey(style)


def _check_bound(style: "Style", blocks: BlockSpec, recipe: Recipe, kinds: Kinds, *, with_settings: bool) -> bool:
    """Check that a style which acts as it is bound is so for the blocks and the steps of a recipe.

    Args:
        style: The style.
        blocks: The blocks that the recipe selects for it.
        recipe: The recipe.
        kinds: Families for which a style may be bound; empty where none is known.
        with_settings: Whether the recipe's settings of content and blends are those of this style.

    Returns:
        Whether it acts as it is bound, whichever encoder it was made with.
    """
    if not kinds:
        return bool(style.bindings)
    used = _with_settings(style, recipe) if with_settings else style
    family, layers = next((kind for kind in kinds if used and used.bound_for(kind[0].name)), (None, ()))
    bound = None if used is None or family is None else used.bound_for(family.name)
    if bound is None or family is None:
        return False
    if recipe.scale:
        weights = family.select(resolve_block_spec(blocks, family))
        bound.check_covers([layer for layer in layers if find_weight(weights, layer)], style.label)
        _check_steps(bound, style.label, recipe)
    return True


def _check_steps(bound: "BoundKeyValues", label: str, recipe: Recipe) -> None:
    """Check that keys and values are bound for the timesteps of a recipe, where these are known."""
    if not bound.timesteps:
        return
    from ..models.schedulers import find_timesteps

    try:
        timesteps = find_timesteps(recipe.model, recipe.num_inference_steps, recipe.scheduler)
    except InstantStyleError:
        # Loading reports it.
        return
    if recipe.image and timesteps:
        # As diffusers' image-to-image pipelines with a transformer count them.
        strength = fill_in_start(recipe).strength or 1.0
        timesteps = timesteps[int(max(len(timesteps) - len(timesteps) * strength, 0)) :]
    bound.check_has_timesteps(timesteps or (), label)


def _changes_content(recipe: Recipe) -> bool:
    """Whether a recipe removes content from its references, or gives them a texture: then no binding acts."""
    others = (recipe.content, recipe.content_references, recipe.texture_references)
    return any(others) or recipe.content_scale == "auto"


def _with_settings(style: "Style", recipe: Recipe) -> "Style | None":
    """Return a style with the settings of a recipe for its references; None where others act on it.

    The recipe of an image has the settings of its style, so that most change nothing.
    """
    if recipe.content_scale == "auto":
        return None
    try:
        style = style.with_removal(recipe.content_scale, recipe.removal, recipe.mask_quantile)
        return style.with_blend(recipe.colour_scale, recipe.texture_scale) if style.texture else style
    except StyleError:
        # Generating reports it.
        return None


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
