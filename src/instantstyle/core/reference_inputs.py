"""References as callers pass them: one or several, images and saved styles."""

from collections.abc import Iterable
from typing import cast

from ..errors import StyleError
from ..imaging.loading import ImageLike, is_image_like
from ..utils.text import shorten
from .style import Style
from .style_library import find_style_file

ReferenceLike = ImageLike
"""An image, its file or bytes, or an array or tensor (`imaging.arrays`); or a saved style: its .style.safetensors
file, or its name in the library."""


def as_sources(reference: object) -> list[Style | ReferenceLike]:
    """Return one reference or several as a list."""
    if isinstance(reference, Style) or is_image_like(reference):
        return [reference]
    if not isinstance(reference, Iterable):
        raise StyleError(
            f"reference is {type(reference).__name__}; pass an image, its path, a style, or a list of these."
        )
    return list(cast("Iterable[Style | ReferenceLike]", reference))


def check_unused_crop(crop: object) -> None:
    """Raise `StyleError` if a crop is given where no image is encoded."""
    if crop != "center":
        raise StyleError(
            f"crop={shorten(crop)} has no effect on ready styles; pass it where their images are encoded."
        )


def find_saved(source: object) -> Style | None:
    """Return a ready style, or load the one that a path or a library name stands for; None for an image.

    Raises:
        StyleError: The source is a style file that cannot be read.
    """
    if isinstance(source, Style):
        return source
    path = find_style_file(source)
    return None if path is None else Style.load(path)
