"""Stored styles: a folder for each owner, a style file for each id."""

import re
import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from platformdirs import user_data_path

from ..core.style import Style
from ..core.style_library import SUFFIX, list_names, path_of
from .errors import ApiError

_ID = re.compile(r"style-[0-9a-f]{24}")


@dataclass(frozen=True)
class StoredStyle:
    """A stored style and the file that holds it.

    Attributes:
        id: `style-` and 24 hexadecimal digits.
        name: Name given by the client.
        content: Phrases that are removed from the style.
        created: Unix time in seconds.
        path: The style file.
    """

    id: str
    name: str
    content: tuple[str, ...]
    created: int
    path: Path

    def to_json(self) -> dict[str, object]:
        """Return the style as the API lists it."""
        return {
            "id": self.id,
            "object": "style",
            "created": self.created,
            "name": self.name,
            "content": list(self.content),
        }


class StyleStore:
    """Styles of several owners; an owner can neither list nor use the styles of another one."""

    def __init__(self, folder: Path | None = None, *, limit: int = 1000, library: bool = False) -> None:
        """Open a store; its folder is created with the first style.

        Args:
            folder: Where the styles are stored; None for a folder of this user's data.
            limit: Largest number of styles of an owner.
            library: Whether every owner can also use the styles of this user's library.
        """
        self.folder = user_data_path("instantstyle") / "served" if folder is None else folder
        self.limit, self.library = limit, library

    def add(self, owner: str, style: Style) -> StoredStyle:
        """Store a style under a new id.

        Args:
            owner: The owner.
            style: The style, with the name to list it by.

        Returns:
            The stored style.

        Raises:
            ApiError: The owner has as many styles as allowed.
        """
        self.check_capacity(owner)
        path = self._owner_folder(owner) / f"style-{secrets.token_hex(12)}{SUFFIX}"
        # Readable by the service's user alone.
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _read_stored_style(style.save(path))

    def check_capacity(self, owner: str) -> None:
        """Check that another style can be stored.

        Args:
            owner: The owner.

        Raises:
            ApiError: The owner has as many styles as allowed.
        """
        if len(self._paths(owner)) >= self.limit:
            raise ApiError(
                f"You have {self.limit} stored styles, the most that are allowed; delete one first.",
                code="too_many_styles",
            )

    def list_styles(self, owner: str) -> list[StoredStyle]:
        """Return an owner's styles, the oldest first."""
        stored = map(_read_stored_style, self._paths(owner))
        return sorted(stored, key=lambda style: (style.created, style.id))

    def get(self, owner: str, style_id: str) -> StoredStyle:
        """Return one of an owner's styles by id.

        Raises:
            ApiError: The owner has no style with this id (404).
        """
        path = self._owner_folder(owner) / f"{style_id}{SUFFIX}"
        if not _ID.fullmatch(style_id) or not path.is_file():
            raise self._not_found(owner, style_id)
        return _read_stored_style(path)

    def delete(self, owner: str, style_id: str) -> None:
        """Delete the file of a style; requests that use it already have a copy.

        Raises:
            ApiError: The owner has no style with this id (404).
        """
        self.get(owner, style_id).path.unlink(missing_ok=True)

    def read(self, owner: str, name: str) -> bytes:
        """Read a style file by id or name.

        The name never becomes a path: ids have a fixed form, and names are compared with those of the stored
        styles.

        Args:
            owner: The owner, whose styles precede those of the library.
            name: The id or the name of a style; of equal names the newest style is read.

        Returns:
            The style file.

        Raises:
            ApiError: There is no such style (404).
        """
        try:
            return self._find(owner, name).read_bytes()
        except FileNotFoundError:
            raise self._not_found(owner, name) from None

    def _find(self, owner: str, name: str) -> Path:
        if _ID.fullmatch(name):
            return self.get(owner, name).path
        for stored in reversed(self.list_styles(owner)):
            if stored.name == name:
                return stored.path
        if self.library and name in list_names():
            return path_of(name)
        raise self._not_found(owner, name)

    def _paths(self, owner: str) -> list[Path]:
        files = self._owner_folder(owner).glob(f"style-*{SUFFIX}")
        return [path for path in files if _ID.fullmatch(_id_of(path))]

    def _owner_folder(self, owner: str) -> Path:
        return self.folder / owner

    def _not_found(self, owner: str, name: str) -> ApiError:
        return ApiError(
            f"There is no style {name!r} among your {len(self._paths(owner))} stored styles; GET /v1/styles "
            "lists them, POST /v1/styles adds one.",
            status=404,
            code="no_such_style",
        )


def _id_of(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)


@lru_cache(maxsize=10_000)
def _read_stored_style(path: Path) -> StoredStyle:
    """Read a style file; cached, as a file never changes under its id."""
    style = Style.load(path)
    return StoredStyle(_id_of(path), style.name, style.content, int(path.stat().st_mtime), path)
