"""Resolve the names of reference images and styles to files, and decode each file once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from ..core.style_library import find_style_file
from ..imaging.loading import MAX_PIXELS, file_sha256, open_reference
from ..recipe import Reference

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
    """

    def __init__(self) -> None:
        self._files: dict[str, SourceFile] = {}
        self._styles: dict[Path, Style] = {}
        self._images: dict[Path, Image.Image] = {}
        self._pixels = 0

    def resolve(self, name: str | Path) -> SourceFile:
        """Return `resolve_source(name)`, computed once for each name."""
        if str(name) not in self._files:
            self._files[str(name)] = resolve_source(name)
        return self._files[str(name)]

    def read(self, name: str | Path) -> "Style | Image.Image":
        """Decode a reference.

        Args:
            name: A path, or the name of a style in the library.

        Returns:
            The saved style, or the image as upright RGB. Do not modify it in place.

        Raises:
            ImageError: The image cannot be read.
            StyleError: The style cannot be read, or the name means no file.
        """
        source = self.resolve(name)
        return self.read_image(source.path) if source.kind == "image" else self.read_style(name)

    def read_style(self, name: str | Path) -> "Style":
        """Read a saved style.

        Args:
            name: A style file, or the name of a style in the library.

        Raises:
            StyleError: The style cannot be read, or the name means no file.
        """
        path = self.resolve(name).path
        if path not in self._styles:
            from ..core.style import Style

            self._styles[path] = Style.load(path)
        return self._styles[path]

    def read_image(self, path: str | Path) -> Image.Image:
        """Decode an image file.

        Args:
            path: The file.

        Returns:
            The image as upright RGB. Do not modify it in place.

        Raises:
            ImageError: The file cannot be read as an image.
        """
        path = Path(path)
        if path in self._images:
            return self._images[path]
        image = open_reference(path)
        pixels = image.width * image.height
        if self._pixels + pixels <= MAX_PIXELS:
            self._images[path] = image
            self._pixels += pixels
        return image
