"""Content to remove, as callers pass it: words, pictures, saved styles and embeddings."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import PromptWarning, StyleError
from ..imaging.arrays import is_array
from ..imaging.loading import IMAGE_SUFFIXES, ImageLike, decode_and_hash, is_image_like, open_reference
from ..loaders.projection_config import EMBEDDING_TYPES
from ..recipe_types import Reference
from ..unet.architectures import Architecture
from ..utils.caller_warnings import warn_caller
from ..utils.text import find_text_fault, shorten
from .protocols import ContentEncoder
from .reference_encoder import ReferenceEncoder
from .style import Style
from .style_contents import ContentKind
from .style_library import SUFFIX as STYLE_SUFFIX
from .style_library import find_style_file
from .style_mixing import check_same_encoder
from .style_source import find_unchanged_file


@dataclass(frozen=True, eq=False)
class ContentPicture:
    """A picture or style that shows the content, with the file that a recipe names for it."""

    picture: ImageLike | Style
    file: Reference


ContentLike = str | ImageLike | Style | ContentPicture
"""Words (any `str`), or a picture of the content: a `Path`, an image, its bytes or array; a style; or an embedding, an
array or tensor of floats with the style's width on its last axis."""

Content = ContentLike | Sequence[ContentLike]
"""What the references show, to be removed: one `ContentLike` or several."""


@dataclass(frozen=True, eq=False)
class EmbeddedContent:
    """Content with its raw embeddings, as arguments of `Style.with_content`."""

    names: list[str]
    embeds: Float[Tensor, "phrases *features dim"]
    kinds: list[ContentKind]
    files: list[Reference | None]


def is_no_content(content: object) -> bool:
    """Whether nothing is passed: None, or words that are empty."""
    return content is None or (isinstance(content, str) and not content)


def as_content_list(content: object) -> list[ContentLike]:
    """Return content as a list.

    Raises:
        StyleError: It is empty, or has an entry of another type or words that are blank.
    """
    is_one = isinstance(content, str | Style | ContentPicture) or is_image_like(content)
    entries = [content] if is_one else content
    listed = list(cast("Sequence[object]", entries)) if isinstance(entries, list | tuple) else [None]
    if not listed or not all(map(_is_content, listed)):
        raise StyleError(
            f"content is {shorten(content)}; it is words for what the references show, such as 'a cat', a picture of "
            "it, or several."
        )
    return cast("list[ContentLike]", listed)


def _is_content(entry: object) -> bool:
    if isinstance(entry, str):
        return bool(entry.strip()) and find_text_fault(entry) is None
    return isinstance(entry, Style | ContentPicture) or is_image_like(entry)


def embed_contents(
    entries: Sequence[ContentLike],
    style: Style,
    text_encoder: Callable[[], ContentEncoder],
    image_encoder: Callable[[], ReferenceEncoder],
    architecture: Architecture,
) -> EmbeddedContent:
    """Embed content in the space of a style.

    Args:
        entries: As `as_content_list` returns them.
        style: The style that it is to be removed from; pictures are cropped as its references are.
        text_encoder: Returns the encoder of words, or raises an error that explains why there is none.
        image_encoder: The same for pictures.
        architecture: The network's family.

    Raises:
        ImageError: A picture cannot be read.
        StyleError: An embedding has another width, or a style another encoder.
    """
    phrases = [entry for entry in entries if isinstance(entry, str)]
    if phrases:
        check_words_removable(style, architecture)
    for phrase in phrases:
        # Whether there is such a file is not looked up: words can be those of a client of the service.
        if phrase.lower().endswith((*IMAGE_SUFFIXES, STYLE_SUFFIX)):
            warn_caller(
                f"content {shorten(phrase)} is read as words; what a picture shows is removed by content_image "
                "(--content-image), in Python by a Path.",
                PromptWarning,
            )
    # One by one, so that an embedding does not depend on the phrases beside it.
    words = iter([text_encoder().embed([phrase])[0] for phrase in phrases])
    names: list[str] = []
    rows: list[Tensor] = []
    kinds: list[ContentKind] = []
    files: list[Reference | None] = []
    for number, entry in enumerate(entries, start=1):
        named: list[tuple[str, Tensor, ContentKind, Reference | None]]
        if isinstance(entry, str):
            named = [(entry, next(words), "words", None)]
        elif (embeds := _as_embeddings(entry, style)) is not None:
            named = [("an embedding", one, "embedding", None) for one in embeds]
        else:
            named = [_embed_picture(entry, style, image_encoder, number)]
        for name, row, kind, file in named:
            names.append(name)
            rows.append(row.to(style.image_embeds))
            kinds.append(kind)
            files.append(file)
    return EmbeddedContent(names, torch.stack(rows), kinds, files)


def _embed_picture(
    entry: ContentLike, style: Style, image_encoder: Callable[[], ReferenceEncoder], number: int
) -> tuple[str, Tensor, ContentKind, Reference | None]:
    picture, file = (entry.picture, entry.file) if isinstance(entry, ContentPicture) else (entry, None)
    path = None if isinstance(picture, Style) else find_style_file(picture)
    saved = picture if isinstance(picture, Style) else None if path is None else Style.load(path)
    if saved is not None:
        check_same_encoder(saved, style, "subtracted from each other")
        file = find_unchanged_file(saved, style.crop) if file is None else file
        return saved.name, saved.embedding(), "image", file
    if isinstance(picture, Path | str):
        image, digest = decode_and_hash(picture, open_reference)
        file = Reference(name=str(picture), sha256=digest)
    else:
        image = open_reference(picture, f"content {number}")
    embeds, _ = image_encoder().encode([image], style.crop)
    return "an image" if file is None else Path(file.name).name, embeds[0], "image", file


def check_words_removable(style: Style, architecture: Architecture) -> None:
    """Check that words can be removed from a style; name the family that has no adapter for it.

    Raises:
        StyleError: The style consists of patch features.
    """
    types = {read[0] for read in architecture.adapter_inputs}
    if style.uses_patch_features and types and not types & EMBEDDING_TYPES:
        style.check_ingredients()
        raise StyleError(
            f"Words cannot be removed from {style.name}: {architecture.title} has {' and '.join(sorted(types))} "
            "adapters only, which read patch features, and words have no embedding among those. Give pictures of the "
            "content."
        )
    style.check_removable()


def _as_embeddings(entry: object, style: Style) -> Float[Tensor, "phrases *features dim"] | None:
    """Return an array or tensor as embeddings, one for each row; None where it is a picture.

    Raises:
        StyleError: It can only be an embedding, and has another width than the style.
    """
    if not is_array(entry):
        return None
    # A copy: torch warns of arrays that cannot be written to.
    x = torch.from_numpy(np.array(entry)) if isinstance(entry, np.ndarray) else torch.as_tensor(cast(Any, entry))
    if not x.is_floating_point():
        return None
    if not x.numel():
        raise StyleError(f"content is an embedding [{' '.join(map(str, x.shape))}], which is empty; pass another one.")
    if not x.isfinite().all():
        raise StyleError("content is an embedding with numbers that are not finite; pass another one.")
    features = style.image_embeds.shape[1:]
    if x.shape == features or x.shape[1:] == features:
        return x.reshape(-1, *features)
    if x.ndim == 1 or (x.ndim == 2 and len(x) == 1):
        raise StyleError(
            f"content is an embedding of width {x.shape[-1]}, and {style.name} has width {style.dim}; pass one of the "
            "style's own image encoder, or of the text encoder that was trained with it."
        )
    return None
