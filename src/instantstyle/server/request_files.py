"""The pictures of one request: on disk as long as it lasts, under names of our own."""

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

_DATA_URL = re.compile(r"data:image/[\w.+-]{1,20};base64,")

_LISTS = ("references", "layout_references", "negative_references")


class RequestFiles:
    """A folder that only this request knows. No name that was sent becomes a path."""

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self._folder = TemporaryDirectory(prefix="instantstyle-")
        self._called: dict[str, str] = {}

    def lay(self, data: bytes, called: str | None) -> Reference:
        """The picture as a reference; `ImageError` where its header shows that it will not be decoded."""
        number, name = len(self._called) + 1, _plain(called)
        path = Path(self._folder.name, f"picture-{number}")
        path.write_bytes(data)
        try:
            with open_image(path) as image:
                width, height = image.size
        except ImageError as fault:
            raise ImageError(str(fault).replace(str(path), name)) from None
        if width * height > self.pixels:
            raise ImageError(
                f"{name} has {width}×{height} pixels, more than the {self.pixels} that are read here; "
                "make it smaller."
            )
        return self._known(path, name)

    def lay_base64(self, text: str) -> Reference:
        """The same of `style_image`, with or without the `data:` in front. Nothing is ever fetched."""
        try:
            data = base64.b64decode(_DATA_URL.sub("", text[:64], count=1) + text[64:], validate=True)
        except (binascii.Error, ValueError):
            raise ImageError(
                "style_image is not base64; send the picture's bytes themselves, as addresses and paths "
                "are not followed here."
            ) from None
        return self.lay(data, "style_image")

    def lay_style(self, data: bytes, called: str) -> Reference:
        """A stored style as it is now, whatever becomes of it before it is drawn with."""
        path = Path(self._folder.name, f"style-{len(self._called) + 1}{SUFFIX}")
        path.write_bytes(data)
        return self._known(path, called)

    @property
    def names(self) -> list[str]:
        """What the asker calls what lies here."""
        return list(self._called.values())

    def told(self, recipe: Recipe, shown: Mapping[str, str | None]) -> Recipe:
        """As the asker may read it: their own names, and of the model's parts only what is `shown`."""

        def named(reference: Reference) -> Reference:
            return reference.model_copy(update={"name": self._called[reference.name]})

        lists = {name: tuple(map(named, getattr(recipe, name))) for name in _LISTS}
        return recipe.but(**lists, image=recipe.image and named(recipe.image), **shown)

    def told_fault(self, fault: BaseException) -> BaseException:
        """The same of what went wrong."""
        text = str(fault)
        for path, name in (*self._called.items(), (self._folder.name, "this request")):
            text = text.replace(path, name)
        return type(fault)(text) if isinstance(fault, InstantStyleError) and text != str(fault) else fault

    def clear(self) -> None:
        """The request is over."""
        self._folder.cleanup()

    def _known(self, path: Path, called: str) -> Reference:
        self._called[str(path)] = called
        return Reference(name=str(path), sha256=sha256(path.read_bytes()).hexdigest())


def _plain(called: str | None) -> str:
    """What a client calls its picture, as text and no more: the last part, readable, not long."""
    name = re.split(r"[/\\]", called or "")[-1].encode(errors="replace").decode()
    return "".join(mark for mark in name if mark.isprintable())[:100] or "picture"
