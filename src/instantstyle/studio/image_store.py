"""Files that the studio keeps: the generated images and the reference images that they were made from."""

import re
import secrets
import unicodedata
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from PIL import Image

from ..core.style_library import SUFFIX, library_folder, list_names, path_of
from ..errors import ImageError, StyleError
from ..imaging.loading import file_sha256, open_reference, read_image_bytes
from ..imaging.png_metadata import save_png
from ..loaders.weight_files import is_hub_id
from ..recipe import FILE_FIELDS, WEIGHT_FIELDS, Recipe
from ..recipe_types import Reference
from ..utils.text import safe_file_name, slug

_SHA256 = re.compile(r"[0-9a-f]{64}")
_IMAGE_NAME = re.compile(r"[\w-]{1,120}\.png")

# An image's name is its slug, its seed (19 digits at most) and 8 hex digits. File systems allow 255 bytes,
# and a letter takes up to 4 bytes.
_SLUG_LENGTH = 40


class ImageStore:
    """Generated images by generated names, reference images by their SHA-256.

    Names that come from the browser or from a recipe are looked up, never joined into a path unchecked.

    Args:
        folder: Where the files are kept. It is created if necessary, with access for its owner only.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder.absolute()
        self.images, self._references = folder / "pictures", folder / "references"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for subfolder in (self.images, self._references):
            subfolder.mkdir(exist_ok=True, mode=0o700)

    def save_image(self, image: Image.Image, recipe: Recipe) -> Path:
        """Save a generated image as a PNG that contains its recipe.

        Args:
            image: The image.
            recipe: Its recipe, without paths of this machine (see `strip_paths`).

        Returns:
            Path of the PNG. Its name is unique.
        """
        name = f"{slug(recipe.prompt, _SLUG_LENGTH)}-{recipe.seed}-{secrets.token_hex(4)}.png"
        return save_png(image, self.images / name, recipe)

    def find_image(self, name: object) -> Path | None:
        """Find a generated image.

        Args:
            name: File name of the image; any value that a browser may send is accepted.

        Returns:
            Path of the image, or None if the name is not valid or the image no longer exists.
        """
        if not isinstance(name, str) or not _IMAGE_NAME.fullmatch(name):
            return None
        path = self.images / name
        return path if path.is_file() else None

    def remove_images(self, names: Iterable[object] | None) -> None:
        """Delete the generated images of these names; other names are ignored."""
        for path in filter(None, map(self.find_image, names or ())):
            path.unlink(missing_ok=True)

    def add_reference(self, path: Path, original_name: str | None = None) -> Reference:
        """Copy an uploaded image into the store.

        Args:
            path: The uploaded file.
            original_name: Its name on the user's machine; by default the name of `path`.

        Returns:
            Path and SHA-256 of the stored copy.

        Raises:
            ImageError: The file is not an image that can be read. The message contains the original name.
        """
        name = safe_file_name(original_name or path.name)
        try:
            data = read_image_bytes(path)
            open_reference(data, name)
        except ImageError as error:
            raise ImageError(str(error).replace(str(path), name)) from None
        digest = sha256(data).hexdigest()
        copy = self._references / digest / name
        if not copy.is_file():
            copy.parent.mkdir(exist_ok=True, mode=0o700)
            copy.write_bytes(data)
        return Reference(name=str(copy), sha256=digest)

    def find_reference(self, reference: Reference) -> Path | None:
        """Find a file by its SHA-256 among the stored references and the styles of the library.

        The name in `reference` is not used, so that a recipe in an uploaded image cannot select a path.

        Returns:
            Path of the file, or None if there is none or `reference` has no SHA-256.
        """
        if reference.sha256 is None or not _SHA256.fullmatch(reference.sha256):
            return None
        images = sorted((self._references / reference.sha256).glob("*"))
        styles = filter(None, map(_find_library_style, list_names()))
        return next((path for path in (*images, *styles) if _has_sha256(path, reference.sha256)), None)

    def strip_folders(self, text: str) -> str:
        """Remove the folders of the stored references from a message, so that only file names remain."""
        return re.sub(re.escape(f"{self._references}/") + r"[0-9a-f]{64}/", "", text)


def strip_paths(recipe: Recipe) -> Recipe:
    """Return the recipe with display names in place of this machine's paths, as it is written into images."""

    def strip(file: Reference) -> Reference:
        return file.model_copy(update={"name": display_name(file.name)})

    def strip_weights(file: Reference) -> Reference:
        # A hub id is no path, and the file is found by it alone.
        return file if is_hub_id("vae", file.name) else strip(file)

    return recipe.map_files(strip, FILE_FIELDS).map_files(strip_weights, WEIGHT_FIELDS)


def display_name(name: str) -> str:
    """Return a library style's name without folder and suffix, and the file name of any other path."""
    path = Path(name)
    if path.parent != library_folder():
        return path.name
    return unicodedata.normalize("NFC", path.name).removesuffix(SUFFIX)


def resolve_library_style(name: str) -> Reference:
    """Return path and SHA-256 of a style in the library.

    Raises:
        StyleError: The library has no style of this name.
    """
    path = path_of(name)
    return Reference(name=str(path), sha256=file_sha256(path))


def _find_library_style(name: str) -> Path | None:
    """Return the file of a style; None if another program has deleted it since it was listed."""
    try:
        return path_of(name)
    except StyleError:
        return None


def _has_sha256(path: Path, digest: str) -> bool:
    """Return False also for a file that is empty, or that another program has deleted."""
    try:
        return file_sha256(path) == digest
    except (ImageError, OSError):
        return False
