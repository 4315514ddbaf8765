"""Resolve the names of reference images and styles to files, and decode each file once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from ..core.style_library import find_style_file
from ..errors import ImageError, JobError
from ..imaging.decoding import MAX_PIXELS
from ..imaging.loading import file_sha256, open_mask, open_reference, read_image_bytes
from ..loaders.weight_files import SUFFIX
from ..recipe_types import Reference

if TYPE_CHECKING:
    from ..core.style import Style

SourceKind = Literal["image", "style"]
"""What a file holds: an image, or a saved style."""


@dataclass(frozen=True)
class SourceFile:
    """The file that a name means.

    Attributes:
        name: The name as the user wrote it; a recipe keeps this.
        path: The file. It may not exist: `sha256` and `SourceCache` read it and report that.
        kind: Whether it is an image or a saved style.
    """

    name: str
    path: Path
    kind: SourceKind

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal; read on first use. Raises `ImageError` if it is unreadable."""
        return file_sha256(self.path)

    def as_reference(self, weight: float = 1.0) -> Reference:
        """Return the entry of a recipe for this file.

        Args:
            weight: Weight of the reference among others, from 0 to 10.

        Raises:
            ImageError: The file does not exist, is empty or is a folder.
            JobError: The weight is out of range.
        """
        return Reference(name=self.name, sha256=self.sha256, weight=weight)


def resolve_source(name: str | Path) -> SourceFile:
    """Resolve the name of a reference: an image file, a style file or a style of the library.

    A file that exists takes precedence over a style of the library. Reads no file.

    Args:
        name: A path, or the name of a style in the library.

    Raises:
        StyleError: The name has no suffix, no such file exists, and the library has no such style.
    """
    style = find_style_file(name)
    return SourceFile(str(name), style or Path(name), "style" if style else "image")


def resolve_image(name: str | Path) -> SourceFile:
    """Resolve the name of a file that must be an image: a mask, or the image to start from."""
    return SourceFile(str(name), Path(name), "image")


class SourceCache:
    """Resolve and decode the files that recipes name, each file once.

    Pass the same cache to `validate`, `load_for` and `generate`, so that generating reuses what validating
    decoded. Use a cache for one piece of work: it does not notice that a file changes later. It keeps up to
    `MAX_PIXELS` decoded pixels; images beyond that are decoded on every read.

    Files may be named by the `Reference` of a recipe. Its SHA-256, if any, is compared with what is decoded, so that
    no image is generated from another file than its recipe says.
    """

    def __init__(self) -> None:
        self._digests: dict[Path, str] = {}
        self._files: dict[str, SourceFile] = {}
        self._styles: dict[Path, Style] = {}
        self._mixes: dict[tuple[Reference, ...], Style] = {}
        self._images: dict[tuple[Path, bool], Image.Image] = {}  # by file, and whether it is a mask
        self._pixels = 0

    def resolve(self, name: str | Path) -> SourceFile:
        """Return `resolve_source(name)`, computed once for each name."""
        if str(name) not in self._files:
            self._files[str(name)] = resolve_source(name)
        return self._files[str(name)]

    def read(self, name: str | Path | Reference) -> "Style | Image.Image":
        """Decode a reference.

        Args:
            name: A path, the name of a style in the library, or a reference with either as its name.

        Returns:
            The saved style, or the image as upright RGB. Do not modify it in place.

        Raises:
            ImageError: The image cannot be read.
            JobError: The file has another SHA-256 than the reference.
            StyleError: The style cannot be read, or the name means no file.
        """
        is_image = self.resolve(_name(name)).kind == "image"
        return self.read_image(name) if is_image else self.read_style(name)

    def read_style(self, name: str | Path | Reference) -> "Style":
        """Read a saved style.

        Args:
            name: A style file, the name of a style in the library, or a reference with either as its name.

        Raises:
            JobError: The file has another SHA-256 than the reference.
            StyleError: The style cannot be read, or the name means no file.
        """
        path = self.resolve(_name(name)).path
        if path not in self._styles or not self._is_checked(path, name):
            from ..core.style import Style

            expected = _sha256(name)
            # Before, because a changed file may be damaged too.
            check_unchanged(path, expected)
            style = Style.load(path)
            if expected and style.source:
                _check_digest(path, expected, style.source.references[0].sha256)
                self._digests[path] = expected
            self._styles[path] = style
        return self._styles[path]

    def read_mix(self, references: Sequence[Reference]) -> "Style":
        """Read saved styles, and mix several by their weights.

        Args:
            references: Style files, or names of styles in the library; at least one.

        Raises:
            JobError: A file has another SHA-256 than its reference.
            StyleError: A style cannot be read, or the styles cannot be mixed.
        """
        key = tuple(references)
        if key not in self._mixes:
            from ..core.style import Style

            self._mixes[key] = Style.mix([(self.read_style(file), file.weight) for file in references])
        return self._mixes[key]

    def read_image(self, name: str | Path | Reference) -> Image.Image:
        """Decode an image file.

        Args:
            name: The file, or a reference to it.

        Returns:
            The image as upright RGB. Do not modify it in place.

        Raises:
            ImageError: The file cannot be read as an image.
            JobError: The file has another SHA-256 than the reference.
        """
        return self._decode(name, open_reference)

    def read_mask(self, name: str | Path | Reference) -> Image.Image:
        """Decode an image file as a mask.

        Args:
            name: The file, or a reference to it.

        Returns:
            The mask as upright grey, black where it is transparent. Do not modify it in place.

        Raises:
            ImageError: The file cannot be read as an image.
            JobError: The file has another SHA-256 than the reference.
        """
        return self._decode(name, open_mask)

    def _decode(self, name: str | Path | Reference, decode: Callable[[bytes, str], Image.Image]) -> Image.Image:
        path = Path(_name(name))
        key = path, decode is open_mask
        if key in self._images and self._is_checked(path, name):
            return self._images[key]
        data, expected = read_image_bytes(path), _sha256(name)
        check_unchanged(path, expected, data)
        try:
            image = decode(data, str(path))
        except ImageError as error:
            raise _explain(path) or error from None
        if expected:
            self._digests[path] = expected
        pixels = image.width * image.height
        if self._pixels + pixels <= MAX_PIXELS and key not in self._images:
            self._images[key] = image
            self._pixels += pixels
        return image

    def _is_checked(self, path: Path, name: str | Path | Reference) -> bool:
        """Whether what is kept of a file has the SHA-256 of the reference, or the reference has none."""
        return not isinstance(name, Reference) or name.sha256 in (None, self._digests.get(path))


def _explain(path: Path) -> ImageError | None:
    """Return an error for a file of weights in place of an image; None for other files."""
    if path.suffix not in (SUFFIX, ".bin", ".ckpt"):
        return None
    from ..models.identify import identify_file

    found = identify_file(path)
    if not found.is_known:
        return None
    remedy = found.advice or "name an image or a saved style"
    return ImageError(f"{path} is no image, by its tensors: {found.description}; {remedy}.")


def check_unchanged(path: Path, expected: str | None, data: bytes | None = None) -> None:
    """Check that a file is the one that a recipe names.

    Args:
        path: The file.
        expected: Its SHA-256 in hexadecimal; None if it is unknown.
        data: Content of the file, if it was read before.

    Raises:
        ImageError: The file cannot be read.
        JobError: The file has another SHA-256.
    """
    if expected is not None:
        _check_digest(path, expected, file_sha256(path) if data is None else sha256(data).hexdigest())


def _check_digest(path: Path, expected: str, found: str | None) -> None:
    if found != expected:
        raise JobError(
            f"{path} was changed after its recipe was made (its sha256 is {str(found)[:12]}…, expected "
            f"{expected[:12]}…); restore the file, or start again with the new one."
        )


def _sha256(source: str | Path | Reference) -> str | None:
    return source.sha256 if isinstance(source, Reference) else None


def _name(source: str | Path | Reference) -> str | Path:
    return source.name if isinstance(source, Reference) else source
