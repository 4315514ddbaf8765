"""The files that a style was made from, so that a recipe can name them."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from ..recipe_types import WORDLESS, Reference
from .content_removal import CONTENT_SCALES

if TYPE_CHECKING:
    from .style import Style

ContentIdentity = tuple[tuple[str, ...], str]
"""Words and names of the content of a style, and the SHA-256 of its embeddings: pictures may share a name."""

Removed = tuple[ContentIdentity, float, str, float | None]
"""Content, content scale, removal and quantile of the mask of a style."""

NO_CONTENT: ContentIdentity = ((), "")


@dataclass(frozen=True)
class StyleSource:
    """Files of a style. It is not written to style files."""

    references: tuple[Reference, ...]
    """Image files, or saved styles with their weights in a mix."""
    removed: Removed
    """What was removed when the style was made from the files; a recipe records only what differs."""
    is_mix: bool
    """Whether the style is a mix of these references, or a saved style, instead of an encoding of images."""
    texture: tuple[Reference, ...] = ()
    """Files of the texture of a blend, of which `references` give the colours."""
    blend_scales: tuple[float, float] | None = None
    """Scales of colours and texture when the style was made from the files; None for no blend."""


def source_of_images(references: Sequence[Reference | None]) -> StyleSource | None:
    """Return the source of a style that is encoded from images; None unless all of them are files."""
    files = tuple(reference for reference in references if reference is not None)
    if len(files) < len(references):
        return None
    return StyleSource(files, (NO_CONTENT, CONTENT_SCALES["subtract"], "subtract", None), is_mix=False)


def source_of_file(path: Path, digest: str, style: "Style") -> StyleSource:
    """Return the source of a style that was loaded from a style file.

    Args:
        path: The file.
        digest: SHA-256 of the bytes that the style was loaded from.
        style: The style.
    """
    file = Reference(name=str(path), sha256=digest)
    return StyleSource((file,), removed(style), is_mix=True, blend_scales=blend_scales(style))


def source_of_mix(parts: Sequence[tuple["Style", float]], mixed: "Style") -> StyleSource | None:
    """Return the source of a mix; None unless each part is one file from which nothing else was removed later."""
    references: list[Reference] = []
    for style, weight in parts:
        # A recipe has one crop, and none for the parts of a mix.
        if (file := find_unchanged_file(style)) is None:
            return None
        references.append(file.model_copy(update={"weight": weight}))
    return StyleSource(tuple(references), removed(mixed), is_mix=True)


def source_of_blend(colour: "Style", texture: "Style", blended: "Style") -> StyleSource | None:
    """Return the source of a blend; None unless both parts are files from which nothing was removed later."""
    parts = colour.source, texture.source
    if parts[0] is None or parts[1] is None:
        return None
    if any(part.removed != removed(style) for part, style in zip(parts, (colour, texture), strict=True) if part):
        return None
    # A recipe has one crop, and none for saved styles.
    encoded = {style.crop for style in (colour, texture) if style.source and not style.source.is_mix}
    if len(encoded) > 1 or (encoded - {"center"} and any(part.is_mix for part in parts if part)):
        return None
    references, others = (
        [ref.model_copy(update={"weight": weight}) for ref, weight in zip(part.references, style.weights, strict=True)]
        if not part.is_mix
        else [*part.references]
        for part, style in ((parts[0], colour), (parts[1], texture))
    )
    is_mix = parts[0].is_mix
    return StyleSource(tuple(references), removed(blended), is_mix, tuple(others), blend_scales(blended))


def find_unchanged_file(style: "Style", crop: str = "center") -> Reference | None:
    """Return the one file of which a style is made, unless the style differs from what the file alone gives.

    Args:
        style: The style.
        crop: How the recipe makes images square.
    """
    source = style.source
    if source is None or len(source.references) != 1 or is_changed(style):
        return None
    if source.texture or (not source.is_mix and style.crop != crop):
        return None
    return source.references[0].model_copy(update={"weight": 1.0})


def is_changed(style: "Style") -> bool:
    """Whether removal or scales of a blend are others than when the style was made from its files."""
    source = style.source
    if source is None:
        return False
    removes = style.content or {style.removal, source.removed[2]} & {*WORDLESS}
    return (bool(removes) and removed(style) != source.removed) or source.blend_scales != blend_scales(style)


def blend_scales(style: "Style") -> tuple[float, float] | None:
    """Return the scales of colours and texture of a blend; None for another style."""
    return None if style.texture is None else (style.texture.colour_scale, style.texture.texture_scale)


def removed(style: "Style") -> Removed:
    """Return content, content scale, removal and quantile of the mask of a style."""
    return content_identity(style), style.content_scale, style.removal, style.mask_quantile


def content_identity(style: "Style") -> ContentIdentity:
    """Return names and SHA-256 of the content of a style; the latter is empty without embeddings."""
    embeds = style.content_embeds
    digest = "" if embeds is None else sha256(embeds.detach().float().cpu().contiguous().numpy().tobytes()).hexdigest()
    return style.content, digest
