"""Styles kept for those who sent them: a folder for each key, a style file for each id."""

import re
import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from ..core.style import Style
from ..core.style_library import SUFFIX, list_names, path_of
from .errors import ApiError

_ID = re.compile(r"style-[0-9a-f]{24}")


@dataclass(frozen=True)
class StoredStyle:
    """One style as it is listed."""

    id: str
    name: str
    content: tuple[str, ...]
    created: int
    path: Path

    def told(self) -> dict[str, Any]:
        content = list(self.content)
        return {
            "id": self.id,
            "object": "style",
            "created": self.created,
            "name": self.name,
            "content": content,
        }


class StyleStore:
    """What one owner keeps is unknown to all others."""

    def __init__(self, folder: Path | None = None, *, bound: int = 1000, library: bool = False) -> None:
        """`library`: whether this machine's own library may be named too, by anyone."""
        self.folder = user_data_path("instantstyle") / "served" if folder is None else folder
        self.bound, self.library = bound, library

    def add(self, owner: str, style: Style) -> StoredStyle:
        """Kept under a new id."""
        self.check_room(owner)
        path = self._folder(owner) / f"style-{secrets.token_hex(12)}{SUFFIX}"
        # For its owner alone: other people of this machine need not see it.
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _stored(style.save(path))

    def check_room(self, owner: str) -> None:
        """`Refusal` where as many are kept as may be."""
        if len(self._paths(owner)) >= self.bound:
            raise ApiError(
                f"{self.bound} styles are kept for you already, and no more may be; delete one first.",
                code="too_many_styles",
            )

    def all(self, owner: str) -> list[StoredStyle]:
        """The oldest first."""
        return sorted(map(_stored, self._paths(owner)), key=lambda one: (one.created, one.id))

    def one(self, owner: str, style_id: str) -> StoredStyle:
        """`Refusal` unless it is there and this owner's."""
        path = self._folder(owner) / f"{style_id}{SUFFIX}"
        if not _ID.fullmatch(style_id) or not path.is_file():
            raise self._unknown(owner, style_id)
        return _stored(path)

    def remove(self, owner: str, style_id: str) -> None:
        """The file is gone; a drawing that has begun with it goes on."""
        self.one(owner, style_id).path.unlink(missing_ok=True)

    def read(self, owner: str, called: str) -> bytes:
        """The style file that an id or a name means; the owner's own before the library's.

        Never a path: an id has one shape, and names are looked up among those that are there.
        """
        try:
            return self._find(owner, called).read_bytes()
        except FileNotFoundError:
            raise self._unknown(owner, called) from None

    def _find(self, owner: str, called: str) -> Path:
        if _ID.fullmatch(called):
            return self.one(owner, called).path
        # Of equal names the newest is meant.
        for kept in reversed(self.all(owner)):
            if kept.name == called:
                return kept.path
        if self.library and called in list_names():
            return path_of(called)
        raise self._unknown(owner, called)

    def _paths(self, owner: str) -> list[Path]:
        return [path for path in self._folder(owner).glob(f"style-*{SUFFIX}") if _id_of(path)]

    def _folder(self, owner: str) -> Path:
        return self.folder / owner

    def _unknown(self, owner: str, called: str) -> ApiError:
        return ApiError(
            f"There is no style {called!r} among the {len(self._paths(owner))} that are kept for you; "
            "GET /v1/styles lists them, POST /v1/styles adds one.",
            status=404,
            code="no_such_style",
        )


def _id_of(path: Path) -> str | None:
    found = _ID.fullmatch(path.name.removesuffix(SUFFIX))
    return found and found[0]


@lru_cache(maxsize=10_000)
def _stored(path: Path) -> StoredStyle:
    """Read once: under its id a file never changes."""
    style = Style.load(path)
    created = int(path.stat().st_mtime)
    return StoredStyle(path.name.removesuffix(SUFFIX), style.name, style.content, created, path)
