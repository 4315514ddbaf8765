"""Images and styles of one request, in a temporary folder under names of the service's own."""

import base64
import binascii
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from ..core.style_library import SUFFIX
from ..errors import ImageError, InstantStyleError
from ..imaging.loading import open_image
from ..recipe import Recipe, Reference
from ..utils.text import safe_file_name

_DATA_URL = re.compile(r"data:image/[\w.+-]{1,20};base64,")


class RequestFiles:
    """Files of one request. A name that a client sent never becomes a path; `public_*` restore it."""

    def __init__(self, max_pixels: int) -> None:
        """Create the folder.

        Args:
            max_pixels: Largest number of pixels of an image.
        """
        self.max_pixels = max_pixels
        self._folder = TemporaryDirectory(prefix="instantstyle-")
        self._client_names: dict[str, str] = {}

    def add_image(self, data: bytes, client_name: str | None) -> Reference:
        """Store an image.

        Args:
            data: The image file.
            client_name: The client's name for it.

        Returns:
            A reference to the stored file.

        Raises:
            ImageError: The file's header cannot be read, or shows too many pixels.
        """
        path, name = self._new_path("image"), safe_file_name(client_name)
        path.write_bytes(data)
        try:
            with open_image(path) as image:
                width, height = image.size
        except ImageError as error:
            raise ImageError(str(error).replace(str(path), name)) from None
        if width * height > self.max_pixels:
            raise ImageError(
                f"{name} has {width}×{height} pixels, more than the limit of {self.max_pixels}; make it smaller."
            )
        return self._reference(path, name)

    def add_base64(self, text: str) -> Reference:
        """Store the image of the field `style_image`. URLs and paths are not read.

        Args:
            text: The image file in base64, with or without the prefix of a `data:` URL.

        Returns:
            A reference to the stored file.

        Raises:
            ImageError: The text is not base64; else as for `add_image`.
        """
        try:
            data = base64.b64decode(_DATA_URL.sub("", text[:64], count=1) + text[64:], validate=True)
        except (binascii.Error, ValueError):
            raise ImageError(
                "style_image is not base64; send the bytes of the image, as URLs and paths are not read."
            ) from None
        return self.add_image(data, "style_image")

    def add_style(self, data: bytes, name: str) -> Reference:
        """Store a copy of a stored style, so that the request can use it even if it is deleted meanwhile.

        Args:
            data: The style file.
            name: The id or name in the request.

        Returns:
            A reference to the copy.
        """
        path = self._new_path("style", SUFFIX)
        path.write_bytes(data)
        return self._reference(path, name)

    @property
    def client_names(self) -> list[str]:
        """The clients' names of the files, in the order in which they were added."""
        return list(self._client_names.values())

    def public_recipe(self, recipe: Recipe, public_model: Mapping[str, str | None]) -> Recipe:
        """Return a recipe as the client may see it.

        Args:
            recipe: A recipe that names files of this request.
            public_model: Values for the fields of the model.

        Returns:
            The recipe with the client's names for the files.
        """

        def rename(file: Reference) -> Reference:
            return file.model_copy(update={"name": self._client_names[file.name]})

        return recipe.map_files(rename).replace(**public_model)

    def public_error(self, error: BaseException) -> BaseException:
        """Return an error as the client may see it: with the client's names for paths of this request."""
        text = message = str(error)
        for path, name in (*self._client_names.items(), (self._folder.name, "this request")):
            text = text.replace(path, name)
        return type(error)(text) if isinstance(error, InstantStyleError) and text != message else error

    def delete(self) -> None:
        """Delete the folder."""
        self._folder.cleanup()

    def _new_path(self, stem: str, suffix: str = "") -> Path:
        return Path(self._folder.name, f"{stem}-{len(self._client_names) + 1}{suffix}")

    def _reference(self, path: Path, client_name: str) -> Reference:
        self._client_names[str(path)] = client_name
        return Reference(name=str(path), sha256=sha256(path.read_bytes()).hexdigest())
