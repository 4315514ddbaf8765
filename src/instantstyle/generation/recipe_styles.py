"""The styles that a recipe names, made from its files, and the conditionings that they act by."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..errors import JobError, StyleError
from ..recipe import Recipe
from ..recipe_types import WORDLESS, Combine, Crop, Reference
from .sources import SourceCache

if TYPE_CHECKING:
    from ..core.conditioning import StyleConditioning
    from ..core.lora_style import LoraStyle
    from ..core.pipeline import InstantStyle
    from ..core.redux_style import ReduxStyle
    from ..core.style import Style
    from ..loaders.lora_file import LoraFile


def make_conditionings(
    styled: "InstantStyle", recipe: Recipe, sources: SourceCache, *, keep_grey: bool = False
) -> "tuple[Style | None, list[StyleConditioning]]":
    """Encode the references of a recipe.

    Args:
        styled: The model.
        recipe: The recipe, without probe files in its blocks.
        sources: Cache with the decoded files.
        keep_grey: Whether the style keeps embeddings of its images made grey, which a blend needs.

    Returns:
        The style of `references`, None without; and the conditionings: that style in its blocks, the style of
        `layout_references` in the layout blocks, and that of the second adapter in its own.

    Raises:
        InstantStyleError: A file cannot be read, or the recipe does not fit the model.
    """
    from ..core.conditioning import StyleConditioning

    style = _without_content(styled, _blend(styled, recipe, sources, keep_grey), recipe, sources)
    negative = _encode(styled, recipe.negative_references, recipe.crop, sources)
    layout = _encode(styled, recipe.layout_references, recipe.crop, sources)
    settings = {"scale": recipe.scale, "fuse": recipe.fuse, **_acting_settings(recipe, sources)}
    conditionings: list[StyleConditioning] = []
    if style:
        conditionings.append(StyleConditioning(style, recipe.blocks, negative_style=negative, **settings))
    if layout:
        conditionings.append(StyleConditioning(layout, "layout", **settings))
    if recipe.image and recipe.image_scale:
        photo = replace(styled.style(sources.read_image(recipe.image), crop=recipe.crop), name=recipe.image.name)
        conditionings.append(StyleConditioning(photo, "all", recipe.image_scale))
    if recipe.second_scale and (second := _second_style(styled, recipe, sources)):
        conditionings.append(
            StyleConditioning(second, recipe.second_blocks, **{**settings, "scale": recipe.second_scale})
        )
    return style, conditionings


def make_lora_styles(recipe: Recipe, sources: SourceCache) -> "list[LoraStyle]":
    """Read the LoRA files of a recipe that act in blocks.

    Args:
        recipe: The recipe, without probe files in its blocks.
        sources: Cache with the decoded mask.

    Raises:
        InstantStyleError: A file cannot be read, or is another one than the recipe names.
    """
    from ..core.lora_style import LoraStyle

    return [
        LoraStyle(
            _read_lora(lora.name, lora.sha256),
            blocks,
            lora.weight,
            positive_only=lora.positive_only,
            **_acting_settings(recipe, sources),
        )
        for lora in recipe.loras
        if (blocks := lora.blocks) is not None
    ]


def make_redux_styles(styled: "InstantStyle", recipe: Recipe, sources: SourceCache) -> "list[ReduxStyle]":
    """Encode the references of Redux.

    Args:
        styled: The model, on whose device they are encoded.
        recipe: The recipe, with its `redux_model` named, and without probe files in its blocks.
        sources: Cache with the decoded files.

    Raises:
        InstantStyleError: A file cannot be read, or is another one than the recipe names.
    """
    if recipe.redux_model is None or not recipe.redux_references or not recipe.redux_scale:
        return []
    from ..core.redux_style import ReduxStyle
    from ..models.redux_files import open_redux

    redux = open_redux(recipe.redux_model, recipe.redux_image_encoder, str(styled.pipe.device))
    acting = {name: value for name, value in _acting_settings(recipe, sources).items() if name != "frames"}
    return [
        ReduxStyle(
            redux.compute_tokens(sources.read_image(file), recipe.crop),
            recipe.redux_blocks,
            recipe.redux_scale * file.weight,
            curve=recipe.redux_curve or None,
            **acting,
        )
        for file in recipe.redux_references
    ]


def name_redux_model(recipe: Recipe) -> Recipe:
    """Return the recipe with the file of Redux' weights and its SHA-256, where it has references for them.

    Raises:
        ModelError: There is no such file.
    """
    if not recipe.redux_references or not recipe.redux_scale or (recipe.redux_model and recipe.redux_model.sha256):
        return recipe
    from ..models.registry import REDUX
    from .weights import weights_sha256

    name = recipe.redux_model.name if recipe.redux_model else REDUX.repo
    return recipe.replace(redux_model=Reference(name=name, sha256=weights_sha256("redux_model", name)))


def _acting_settings(recipe: Recipe, sources: SourceCache) -> "dict[str, Any]":
    """Return where and when every style of a recipe acts."""
    return {
        "start": recipe.start,
        "end": recipe.end,
        "frames": recipe.frame_weights or None,
        "mask": sources.read_mask(recipe.mask) if recipe.mask else None,
    }


def _second_style(styled: "InstantStyle", recipe: Recipe, sources: SourceCache) -> "Style | None":
    """Make the style of the second adapter, from references of its own or else those of the first."""
    references = recipe.second_references or recipe.references
    if recipe.second_adapter is None or not references:
        return None
    if not styled.further:
        raise JobError(
            f"The recipe names a second adapter, {recipe.second_adapter.name}, and the model was loaded without it; "
            "load it with adapter=[…, …]."
        )
    combine = recipe.combine if not recipe.second_references else "average"
    try:
        return _encode(styled, references, recipe.crop, sources, combine, adapter=styled.further[0].name)
    except StyleError as error:
        if recipe.second_references:
            raise
        raise StyleError(f"{error} Give images, which every adapter encodes, or set second_scale to 0.") from None


def _blend(styled: "InstantStyle", recipe: Recipe, sources: SourceCache, keep_grey: bool) -> "Style | None":
    """Make the style of the references, with the texture of others if there are any."""
    from ..core.style import Style

    keep_grey = keep_grey or bool(recipe.texture_references)
    style = _encode(styled, recipe.references, recipe.crop, sources, recipe.combine, keep_grey=keep_grey)
    texture = _encode(styled, recipe.texture_references, recipe.crop, sources, keep_grey=True)
    scales = {"colour_scale": recipe.colour_scale, "texture_scale": recipe.texture_scale}
    given = {name: scale for name, scale in scales.items() if scale is not None}
    if style and texture:
        return Style.blend(style, texture, **given)
    # A sweep also generates cells without a texture.
    return style.with_blend(**given) if style and style.texture and given else style


def _without_content(
    styled: "InstantStyle", style: "Style | None", recipe: Recipe, sources: SourceCache
) -> "Style | None":
    """Remove the content that a recipe names from the style of its references."""
    from ..core.content_inputs import ContentPicture

    pictures = [ContentPicture(sources.read(file), file) for file in recipe.content_references]
    content = [*recipe.content, *pictures]
    settings = (recipe.content_scale, recipe.removal, recipe.mask_quantile)
    if style is None or not (content or any(setting is not None for setting in settings)):
        return style
    # The recipe of an image records a scale also where nothing is removed.
    removes = content or style.content or {recipe.removal, style.removal} & {*WORDLESS}
    return styled.style(
        style,
        content=content or None,
        content_scale=recipe.content_scale if removes or recipe.content_scale == "auto" else None,
        removal=recipe.removal if removes else None,
        mask_quantile=recipe.mask_quantile if removes else None,
    )


def _encode(
    styled: "InstantStyle",
    references: Sequence[Reference],
    crop: Crop,
    sources: SourceCache,
    combine: Combine = "average",
    *,
    keep_grey: bool = False,
    adapter: str | None = None,
) -> "Style | None":
    """Make one style of references, named after their files; None for no adapter is the first."""
    if not references:
        return None
    # Beside another adapter, a saved style would otherwise act through the one that reads its embeddings.
    adapter = "" if adapter is None and styled.further else adapter
    names = [Path(reference.name).name for reference in references]
    decoded = [sources.read(reference) for reference in references]
    weights = [reference.weight for reference in references]
    if all(isinstance(source, Image.Image) for source in decoded):
        settings = {"weights": weights, "combine": combine, "keep_grey": keep_grey}
        style = styled.style(decoded, crop=crop, adapter=adapter, **settings)
        return replace(style, name=" + ".join(names))
    # A mix depends on the names of its parts, so each image gets that of its file first.
    styles = [
        replace(styled.style(source, crop=crop, keep_grey=keep_grey, adapter=adapter), name=name)
        if isinstance(source, Image.Image)
        else source
        for source, name in zip(decoded, names, strict=True)
    ]
    return styled.style(styles, weights=weights, combine=combine, adapter=adapter)


def _read_lora(name: str, sha256: str | None) -> "LoraFile":
    """Read a LoRA file; one with a known SHA-256 is kept for the next recipes."""
    from ..loaders.lora_file import LoraFile
    from ..loaders.weight_files import find_lora

    return LoraFile.read(find_lora(name)) if sha256 is None else _read_known_lora(name, sha256)


@lru_cache(maxsize=4)
def _read_known_lora(name: str, sha256: str) -> "LoraFile":
    from ..loaders.lora_file import LoraFile
    from ..loaders.weight_files import find_lora

    return LoraFile.read(find_lora(name), sha256)
