"""A drawn picture on disk: a PNG that is there whole or not at all, with the recipe that made it inside."""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .errors import JobError
from .files import check_free, whole
from .images import opened
from .recipe import Recipe

KEY = "instantstyle"
"""PNG text key of the recipe as JSON; beside it, `parameters` holds the text other tools show."""


def check_destination(path: str | Path, *, force: bool = False) -> Path:
    """The path, if a picture can be written there; asked before drawing, so that no drawing is wasted."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise JobError(f"{path} should end in .png: that is the format which carries its recipe.")
    check_free(path, force=force)
    return path


def save_png(
    image: Image.Image, path: str | Path, recipe: Recipe | None = None, *, force: bool = False
) -> Path:
    """Write the picture with its recipe inside; nobody ever sees half of it, and nothing is overwritten.

    A sheet of pictures by several recipes carries none.
    """
    path = check_destination(path, force=force)
    with whole(path, force=force) as draft, draft.open("xb") as file:
        image.save(file, format="PNG", pnginfo=_inscription(recipe) if recipe else None)
    return path


def read_recipe(path: str | Path) -> Recipe:
    """The recipe inside a PNG that `save_png` wrote."""
    with opened(path) as image:
        text = image.info.get(KEY)
    if not isinstance(text, str):
        raise JobError(f"{path} carries no recipe; only PNGs as instantstyle wrote them do.")
    return Recipe.from_json(text)


def _inscription(recipe: Recipe) -> PngInfo:
    # add_text falls back to iTXt by itself where the words do not fit Latin-1.
    info = PngInfo()
    info.add_text(KEY, recipe.to_json())
    info.add_text("parameters", recipe.a1111())
    return info
