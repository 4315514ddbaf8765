"""A drawn picture on disk: a PNG that is there whole or not at all, with the recipe that made it inside."""

import os
import uuid
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .errors import JobError
from .images import opened
from .recipe import Recipe

KEY = "instantstyle"
"""PNG text key of the recipe as JSON; beside it, `parameters` holds the text other tools show."""


def check_destination(path: str | Path, *, force: bool = False) -> Path:
    """The path, if a picture can be written there; asked before drawing, so that no drawing is wasted."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise JobError(f"{path} should end in .png: that is the format which carries its recipe.")
    if path.is_dir():
        raise JobError(f"{path} is a folder; name a file in it, such as {path / 'out.png'}.")
    if path.exists() and not force:
        raise _taken(path)
    if not path.parent.is_dir():
        raise JobError(f"{path.parent} is not a folder; make it first, or write elsewhere.")
    if not os.access(path.parent, os.W_OK):
        raise JobError(f"{path.parent} cannot be written to; write elsewhere.")
    return path


def save_png(
    image: Image.Image, path: str | Path, recipe: Recipe | None = None, *, force: bool = False
) -> Path:
    """Write the picture with its recipe inside; nobody ever sees half of it, and nothing is overwritten.

    A sheet of pictures by several recipes carries none.
    """
    path = check_destination(path, force=force)
    # In the same folder, because a rename is atomic only within one file system.
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with draft.open("xb") as file:
            image.save(file, format="PNG", pnginfo=_inscription(recipe) if recipe else None)
        os.replace(draft, path) if force else _place(draft, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as fault:
        raise JobError(f"{path} could not be written: {fault.strerror or fault}.") from None
    finally:
        draft.unlink(missing_ok=True)
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


def _place(draft: Path, path: Path) -> None:
    """Rename without overwriting, even a file made a moment ago: a link fails where the name exists."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (FAT, some network drives): claim the name first, then fill it.
        path.touch(exist_ok=False)
        os.replace(draft, path)


def _taken(path: Path) -> JobError:
    return JobError(f"{path} exists already; choose another name or overwrite it with --force.")
