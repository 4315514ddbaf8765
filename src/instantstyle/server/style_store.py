"""Stored styles: a folder for each owner, a style file for each id."""

import logging
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from time import time_ns

from platformdirs import user_data_path

from ..core.style import Style
from ..core.style_library import SUFFIX, find_library_file
from ..errors import InstantStyleError
from ..utils.text import join_first, one_line, shorten
from .errors import ApiError

_ID = re.compile(r"style-[0-9a-f]{24}")

_TICK = 1000
"""Nanoseconds between two styles: more than the resolution of the times that file systems store."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredStyle:
    """A stored style and the file that holds it.

    Attributes:
        id: `style-` and 24 hexadecimal digits.
        name: Name given by the client.
        content: Phrases that are removed from the style.
        created_ns: Unix time in nanoseconds, different for each style of an owner.
        path: The style file.
    """

    id: str
    name: str
    content: tuple[str, ...]
    created_ns: int
    path: Path

    def to_json(self) -> dict[str, object]:
        """Return the style as the API lists it."""
        return {
            "id": self.id,
            "object": "style",
            "created": self.created_ns // 10**9,
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
        self._adding = Lock()

    def add(self, owner: str, style: Style) -> StoredStyle:
        """Store a style under a new id.

        Args:
            owner: The owner.
            style: The style, with the name to list it by.

        Returns:
            The stored style.

        Raises:
            ApiError: The owner has as many styles as allowed, or the style cannot be stored (500).
        """
        path = self._owner_folder(owner) / f"style-{secrets.token_hex(12)}{SUFFIX}"
        # Counted and stored under one lock: otherwise several requests could take the last place.
        with self._adding:
            self.check_capacity(owner)
            try:
                # Readable by the service's user alone.
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                created = max([time_ns(), *(newest + _TICK for newest in self._times(owner))])
                style.save(path)
                os.utime(path, ns=(created, created))
                stored = _read_stored_style(path)
            except (InstantStyleError, OSError):
                _logger.exception("A style could not be stored.")
                stored = None
        if stored is None:
            raise ApiError("The style could not be stored; the service's log says why.", status=500, code="not_stored")
        return stored

    def check_capacity(self, owner: str) -> None:
        """Check that another style can be stored.

        Args:
            owner: The owner.

        Raises:
            ApiError: The owner has as many styles as allowed. Files that cannot be read count as well.
        """
        if len(self._paths(owner)) >= self.limit:
            raise ApiError(
                f"You have {self.limit} stored styles, the most that are allowed; delete one first.",
                code="too_many_styles",
            )

    def list_styles(self, owner: str) -> list[StoredStyle]:
        """Return an owner's styles, the oldest first. Files that cannot be read are logged and left out."""
        stored = filter(None, map(_read_stored_style, self._paths(owner)))
        return sorted(stored, key=lambda style: (style.created_ns, style.id))

    def get(self, owner: str, name: str) -> StoredStyle:
        """Return one of an owner's styles by id or name.

        Raises:
            ApiError: The owner has no style with this id or name, or its file cannot be read (404); or several of
                this name (409).
        """
        path = self._find_one(owner, name)
        stored = _read_stored_style(path) if path else None
        if stored is None:
            raise self._not_found(name)
        return stored

    def delete(self, owner: str, name: str) -> str:
        """Delete the file of a style; requests that use it already have a copy.

        Args:
            owner: The owner.
            name: The id, of which the file is not read, or the name.

        Returns:
            The id.

        Raises:
            ApiError: The owner has no style with this id or name (404), or several of this name (409), or the file
                cannot be deleted (500).
        """
        path = self._find_one(owner, name)
        if path is None:
            raise self._not_found(name)
        try:
            path.unlink()
        except FileNotFoundError:
            raise self._not_found(name) from None
        except OSError:
            _logger.exception("A style could not be deleted.")
            raise ApiError(
                "The style could not be deleted; the service's log says why.", status=500, code="not_deleted"
            ) from None
        return _id_of(path)

    def read(self, owner: str, name: str, field: str | None = None) -> bytes:
        """Read a style file by id or name.

        The name never becomes a path: ids have a fixed form, and names are compared with those of the stored
        styles.

        Args:
            owner: The owner, whose styles precede those of the library.
            name: The id or the name of a style; of equal names the newest style is read.
            field: The field of a request that has it, for an error.

        Returns:
            The style file.

        Raises:
            ApiError: There is no such style (404).
        """
        for path in self._find(owner, name):
            try:
                return path.read_bytes()
            # Deleted since it was found.
            except FileNotFoundError:
                continue
            except OSError as error:
                _warn_once(path, one_line(error, 300))
        raise self._not_found(name, field)

    def _find(self, owner: str, name: str) -> Iterator[Path]:
        """Iterate over the files that a name means, the first choice first."""
        if path := self._find_id(owner, name):
            yield path
            return
        yield from (stored.path for stored in reversed(self._find_named(owner, name)))
        if self.library and (path := find_library_file(name)):
            yield path

    def _find_one(self, owner: str, name: str) -> Path | None:
        """Find the file of an owner's style by id or name; None if there is none.

        Raises:
            ApiError: Several styles have this name (409).
        """
        if path := self._find_id(owner, name):
            return path
        named = self._find_named(owner, name)
        if len(named) > 1:
            raise ApiError(
                f"{len(named)} stored styles have the name {shorten(name)}: {join_first([s.id for s in named])}; give "
                "the id of one.",
                status=409,
                code="several_styles",
            )
        return named[0].path if named else None

    def _find_named(self, owner: str, name: str) -> list[StoredStyle]:
        """List an owner's styles of a name, the oldest first."""
        wanted = unicodedata.normalize("NFC", name)
        return [s for s in self.list_styles(owner) if unicodedata.normalize("NFC", s.name) == wanted]

    def _find_id(self, owner: str, style_id: str) -> Path | None:
        path = self._owner_folder(owner) / f"{style_id}{SUFFIX}"
        return path if _ID.fullmatch(style_id) and path.is_file() else None

    def _paths(self, owner: str) -> list[Path]:
        files = self._owner_folder(owner).glob(f"style-*{SUFFIX}")
        return [path for path in files if _ID.fullmatch(_id_of(path))]

    def _times(self, owner: str) -> Iterator[int]:
        """Iterate over the times of an owner's styles, in nanoseconds."""
        for path in self._paths(owner):
            try:
                yield path.stat().st_mtime_ns
            # Deleted since it was listed.
            except FileNotFoundError:
                continue

    def _owner_folder(self, owner: str) -> Path:
        return self.folder / owner

    def _not_found(self, name: str, field: str | None = None) -> ApiError:
        return ApiError(
            f"There is no style {shorten(name)} that can be read among your stored styles; GET /v1/styles lists "
            "them, POST /v1/styles adds one.",
            status=404,
            code="no_such_style",
            param=field,
        )


def _id_of(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)


def _read_stored_style(path: Path) -> StoredStyle | None:
    """Read a style file; None, and a line in the log, for one that is damaged, or that was deleted meanwhile."""
    try:
        stat = path.stat()
        return _read_version(path, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        return None
    except (InstantStyleError, OSError) as error:
        _warn_once(path, one_line(error, 300))
        return None


@lru_cache(maxsize=10_000)
def _read_version(path: Path, time: int, size: int) -> StoredStyle:
    """Read a style file; cached until it changes."""
    style = Style.load(path)
    return StoredStyle(_id_of(path), style.name, style.content, time, path)


@cache
def _warn_once(path: Path, reason: str) -> None:
    _logger.warning("The stored style %s is left out: %s", path, reason)
