"""What the studio keeps on disk: the pictures that were made, and the references that they were made with."""

import re
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from ..core.style_library import SUFFIX, library_folder, list_names, path_of
from ..errors import ImageError
from ..imaging.loading import file_sha256, open_reference
from ..imaging.png_metadata import save_png
from ..recipe import Recipe, Reference

LISTS = ("references", "layout_references", "negative_references")
"""Fields of a recipe that name pictures and styles; beside them there is `mask`."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PICTURE = re.compile(r"[\w-]{1,120}\.png")


class ImageStore:
    """Pictures by a name of our own, references by what is in them. No name that was sent becomes a path."""

    def __init__(self, folder: Path) -> None:
        folder = folder.absolute()
        self.pictures, self._references = folder / "pictures", folder / "references"
        # For its owner alone: other people of this machine need not see them.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for place in (self.pictures, self._references):
            place.mkdir(exist_ok=True, mode=0o700)

    def add(self, image: Image.Image, recipe: Recipe) -> Path:
        """A picture, its recipe inside."""
        name = f"{_slug(recipe.prompt)}-{recipe.seed}-{secrets.token_hex(4)}.png"
        return save_png(image, self.pictures / name, recipe)

    def picture(self, name: object) -> Path | None:
        """One that was made here and is still there."""
        if not isinstance(name, str) or not _PICTURE.fullmatch(name):
            return None
        path = self.pictures / name
        return path if path.is_file() else None

    def remove(self, names: Iterable[object] | None) -> None:
        """The pictures are gone."""
        for path in filter(None, map(self.picture, names or ())):
            path.unlink(missing_ok=True)

    def reference(self, path: Path, called: str | None = None) -> Reference:
        """A picture that was sent, kept; `ImageError` where it cannot be read."""
        name = _plain(called or path.name)
        try:
            open_reference(path)
        except ImageError as fault:
            raise ImageError(str(fault).replace(str(path), name)) from None
        digest = file_sha256(path)
        place = self._references / digest / name
        if not place.is_file():
            place.parent.mkdir(exist_ok=True, mode=0o700)
            shutil.copyfile(path, place)
        return Reference(name=str(place), sha256=digest)

    def found(self, reference: Reference) -> Path | None:
        """The file of the same content, whatever its name: a reference of ours, or a style of the library."""
        if reference.sha256 is None or not _DIGEST.fullmatch(reference.sha256):
            return None
        ours = sorted((self._references / reference.sha256).glob("*"))
        styles = (path_of(name) for name in list_names())
        return next(
            (path for path in (*ours, *styles) if file_sha256(path) == reference.sha256),
            None,
        )

    def told(self, recipe: Recipe) -> Recipe:
        """As it may leave the house: with files' names, and not the places where they lie."""

        def named(reference: Reference) -> Reference:
            return reference.model_copy(update={"name": shown(reference.name)})

        lists = {name: tuple(map(named, getattr(recipe, name))) for name in LISTS}
        return recipe.but(**lists, mask=recipe.mask and named(recipe.mask))

    def without_places(self, text: str) -> str:
        """The same sentence, with the names of references alone."""
        return re.sub(re.escape(f"{self._references}/") + r"[0-9a-f]{64}/", "", text)


def shown(name: str) -> str:
    """A style of the library by its name there, anything else as its file."""
    path = Path(name)
    return path.name.removesuffix(SUFFIX) if path.parent == library_folder() else path.name


def saved(name: str) -> Reference:
    """A style of the library."""
    place = path_of(name)
    return Reference(name=str(place), sha256=file_sha256(place))


def newest(names: Iterable[str], others: Iterable[str], most: int) -> list[str]:
    """The names before the others, each once, as many as may be."""
    return list(dict.fromkeys((*names, *others)))[:most]


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:40] or "picture"


def _plain(called: str) -> str:
    """As text and no more: the last part, readable, not long."""
    name = re.split(r"[/\\]", called)[-1].encode(errors="replace").decode()
    # The end, where the suffix is.
    return "".join(mark for mark in name if mark.isprintable()).lstrip(".")[-100:] or "picture"
