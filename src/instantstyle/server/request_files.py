"""Images and styles of one request, in a temporary folder under names of the service's own."""

import base64
import binascii
import copy
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from PIL import Image

from ..core.style import Style
from ..core.style_library import SUFFIX
from ..errors import ImageError, InstantStyleError
from ..generation.sources import SourceCache
from ..imaging.loading import open_image
from ..recipe import FILE_FIELDS, REDUX_FIELDS, Recipe
from ..recipe_types import Reference
from ..utils.text import safe_file_name
from .errors import ApiError
from .limits import Limits

_DATA_URL = re.compile(r"data:(image/[\w.+-]+)?(;[^;,]+)*;base64", re.IGNORECASE)
_MAX_DATA_URL_HEAD = 1000
_WHITE_SPACE = re.compile(r"[ \t\r\n\f\v]+")


class RequestFiles:
    """Files of one request. A name that a client sent never becomes a path; `public_*` restore it."""

    def __init__(self, limits: Limits) -> None:
        """Create the folder.

        Args:
            limits: The limits of the service, of which `upload_pixels` and `request_pixels` are used.
        """
        self._limits = limits
        self._images: list[Path] = []
        # Where a request failed, an error of the clean-up would replace the one that is answered.
        self._folder = TemporaryDirectory(prefix="instantstyle-", ignore_cleanup_errors=True)
        self._client_names: dict[str, str] = {}

    def add_image(self, data: bytes, client_name: str | None) -> Reference:
        """Store an image without reading it; `check_pixels` and the worker do that.

        Args:
            data: The image file.
            client_name: The client's name for it.

        Returns:
            A reference to the stored file.
        """
        path = self._new_path("image")
        path.write_bytes(data)
        self._images.append(path)
        return self._reference(path, safe_file_name(client_name))

    def check_pixels(self) -> None:
        """Check the sizes of all images, which their headers show, before the first of them is decoded.

        Raises:
            ApiError: The images have too many pixels together (413).
            ImageError: A header cannot be read, or an image has too many pixels.
        """
        total = 0
        for path in self._images:
            with open_image(path) as image:
                width, height = image.size
            if width * height > self._limits.upload_pixels:
                raise ImageError(
                    f"{path} has {width}×{height} pixels, more than the limit of {self._limits.upload_pixels}; make "
                    "it smaller."
                )
            total += width * height
        if total > self._limits.request_pixels:
            raise ApiError(
                f"The images of this request have {total} pixels together, more than the limit of "
                f"{self._limits.request_pixels}; send fewer or smaller ones.",
                status=413,
                code="too_much",
            )

    def add_base64(self, text: str, field: str = "style_image") -> Reference:
        """Store the image of a field such as `style_image`. URLs and paths are not read.

        Args:
            text: The image file in base64, with or without line breaks; or a `data:` URL of an image.
            field: Name of the field.

        Returns:
            A reference to the stored file.

        Raises:
            ImageError: The text is not base64.
        """
        head, comma, rest = text[:_MAX_DATA_URL_HEAD].partition(",")
        if comma and _DATA_URL.fullmatch(head.strip()):
            text = unquote(rest + text[_MAX_DATA_URL_HEAD:])
        try:
            data = base64.b64decode(_WHITE_SPACE.sub("", text), validate=True)
        except (binascii.Error, ValueError):
            raise ImageError(
                f"{field} is not base64; send the bytes of the image, as URLs and paths are not read."
            ) from None
        return self.add_image(data, field)

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

    def public_recipe(self, recipe: Recipe, public_model: Mapping[str, object]) -> Recipe:
        """Return a recipe as the client may see it.

        Args:
            recipe: A recipe that names files of this request.
            public_model: Values for the fields of the model.

        Returns:
            The recipe with the client's names for the files.
        """

        def rename(file: Reference) -> Reference:
            return file.model_copy(update={"name": self._client_names[file.name]})

        # Those of Redux are in the recipes that it acts in.
        fields = {name: value for name, value in public_model.items() if name not in REDUX_FIELDS}
        fields = dict(public_model) if recipe.redux_references else fields
        return recipe.map_files(rename, FILE_FIELDS).replace(**fields)

    def public_text(self, text: str) -> str:
        """Return a text as the client may see it: with the client's names for the files of this request."""
        names = {**self._client_names, self._folder.name: "this request"}
        # Styles are named after their files, without the folder.
        names |= {Path(path).name: name for path, name in self._client_names.items()}
        # In one pass, as a client's name can be that of another file here.
        files = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        return re.sub(rf"(?<![\w.-])(?:{files})(?![\w-])", lambda match: names[match[0]], text)

    def public_error(self, error: BaseException) -> BaseException:
        """Return an error as the client may see it: with the client's names for paths of this request."""
        text = self.public_text(str(error))
        if not isinstance(error, InstantStyleError) or text == str(error):
            return error
        # A copy keeps the class and its attributes, such as the status of an `ApiError`.
        public = copy.copy(error)
        public.args = (text,)
        return public

    def delete(self) -> None:
        """Delete the folder."""
        self._folder.cleanup()

    def _new_path(self, stem: str, suffix: str = "") -> Path:
        return Path(self._folder.name, f"{stem}-{len(self._client_names) + 1}{suffix}")

    def _reference(self, path: Path, client_name: str) -> Reference:
        self._client_names[str(path)] = client_name
        return Reference(name=str(path), sha256=sha256(path.read_bytes()).hexdigest())


class CheckedSources(SourceCache):
    """The files of a request, decoded by the worker: each after a check of the job's deadline, and of all sizes."""

    def __init__(self, files: RequestFiles, check: Callable[[], None]) -> None:
        """Create an empty cache.

        Args:
            files: The files of the request.
            check: Called before a file is decoded; raises an exception to stop the work.
        """
        super().__init__()
        self._request_files, self._check = files, check
        self._sizes_checked = False

    @property
    def files(self) -> RequestFiles:
        """The files of the request."""
        return self._request_files

    def read_image(self, name: str | Path | Reference) -> Image.Image:
        """Decode an image file; errors as in `RequestFiles.check_pixels` and in `SourceCache`."""
        self._check()
        if not self._sizes_checked:
            self._request_files.check_pixels()
            self._sizes_checked = True
        return super().read_image(name)

    def read_style(self, name: str | Path | Reference) -> Style:
        """Read a style file; `StyleError` if it cannot be read."""
        self._check()
        return super().read_style(name)
