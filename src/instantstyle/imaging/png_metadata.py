"""A drawn picture on disk: a PNG that is there whole or not at all, with the recipe that made it inside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import JobError
from ..recipe import Recipe
from ..utils.atomic_write import atomic_write, check_writable
from .loading import open_image

KEY = "instantstyle"
"""PNG text key of the recipe as JSON; beside it, `parameters` holds the text other tools show."""


def check_destination(path: str | Path, *, force: bool = False) -> Path:
    """The path, if a picture can be written there; asked before drawing, so that no drawing is wasted."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise JobError(f"{path} should end in .png: that is the format which carries its recipe.")
    check_writable(path, force=force)
    return path


def save_png(
    image: Image.Image,
    path: str | Path,
    recipe: Recipe | None = None,
    *,
    texts: Mapping[str, str] | None = None,
    force: bool = False,
) -> Path:
    """Write the picture with its recipe inside; nobody ever sees half of it, and nothing is overwritten.

    A sheet of pictures by several recipes carries none. `texts`: what else it is to carry, by PNG text key.
    """
    path = check_destination(path, force=force)
    with atomic_write(path, force=force) as draft, draft.open("xb") as file:
        write_png(image, file, recipe, texts)
    return path


def write_png(
    image: Image.Image, file: Any, recipe: Recipe | None = None, texts: Mapping[str, str] | None = None
) -> None:
    """The same into a file that is open for bytes, or into memory."""
    of_recipe = {KEY: recipe.to_json(), "parameters": recipe.a1111()} if recipe else {}
    image.save(file, format="PNG", pnginfo=_inscription({**of_recipe, **(texts or {})}))


def read_recipe(path: str | Path) -> Recipe:
    """The recipe inside a PNG that `save_png` wrote."""
    with open_image(path) as image:
        return recipe_from_image(image, str(path))


def recipe_from_image(image: Image.Image, name: str) -> Recipe:
    """The same of one that is open already; `name` is what faults call it."""
    text = _text_in(image, KEY)
    if text is None:
        raise JobError(f"{name} carries no recipe; only PNGs as instantstyle wrote them do.")
    return Recipe.from_json(text)


def read_text(path: str | Path, key: str) -> str | None:
    """What a picture carries under a PNG text key; None where it carries nothing."""
    with open_image(path) as image:
        return _text_in(image, key)


def _text_in(image: Image.Image, key: str) -> str | None:
    text = image.info.get(key)
    return text if isinstance(text, str) else None


def _inscription(texts: Mapping[str, str]) -> PngInfo:
    info = PngInfo()
    for key, text in texts.items():
        # add_text falls back to iTXt by itself where the words do not fit Latin-1.
        info.add_text(key, text)
    return info
