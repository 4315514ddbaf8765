"""Any store that fsspec knows as the place of a batch's pictures: s3://, gs://, az://, sftp:// and others."""

import mimetypes
import os
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from ..errors import JobError, MissingExtra, did_you_mean
from ..imaging.loading import decode_image
from ..utils.atomic_write import atomic_write, draft_of, is_draft
from .store import LocalStore, Store
from .store_url import StoreUrl

LEDGERS_VARIABLE = "INSTANTSTYLE_LEDGERS"
"""Environment variable that puts the ledgers of such stores elsewhere."""

AT_ONCE = {"s3", "gs", "az", "hf", "memory"}
"""Protocols under which a put is whole or nothing. Elsewhere a file has another name until it is whole."""

TYPED = {"s3": "ContentType", "gs": "content_type"}
"""What a put calls the kind of a file: a page without one is saved by a browser, not shown."""

TRIAL = ".instantstyle"
"""Put before anything is drawn, and removed where that is allowed."""

# Modules that are called otherwise than their package.
_PACKAGES = {"smbclient": "smbprotocol"}


def store_at(output: str | Path) -> Store:
    """The folder or the store of this URL; `file://` is a folder like any other."""
    if isinstance(output, Path) or "://" not in output:
        return LocalStore(Path(output))
    address = StoreUrl(output)
    system, root = _file_system(address)
    if "file" in _protocols(system):
        return LocalStore(Path(root))
    return FsspecStore(address, system, root)


def ledgers() -> Path:
    """Where those are that cannot lie beside their pictures: ~/.local/state/instantstyle/batches on Linux."""
    from platformdirs import user_state_path

    given = os.environ.get(LEDGERS_VARIABLE)
    return Path(given) if given else user_state_path("instantstyle") / "batches"


class FsspecStore(Store):
    """A store behind a URL. Its ledger is on this machine, for SQLite needs a file system."""

    def __init__(self, address: StoreUrl, system: Any, root: str) -> None:
        self._address, self._system, self._root = address, system, root
        self._at_once = bool(AT_ONCE & _protocols(system))
        self.home, self.name = ledgers() / address.key, str(address).rpartition("/")[2]

    def __str__(self) -> str:
        return str(self._address)

    def begin(self) -> None:
        """Refused here, before anything is drawn, where it cannot be written to."""
        with atomic_write(self.home / "url.txt", force=True) as draft:
            draft.write_text(f"{self}\n", encoding="utf-8")
        with self._faults_told(f"{self} cannot be written to"):
            if not self._at_once:
                self._system.makedirs(self._root, exist_ok=True)
                for name in filter(is_draft, self._names()):
                    self._system.rm_file(self._path(name))
            self._put(TRIAL, b"A batch can be written here.\n")
        # Who may write may not always delete.
        with suppress(Exception):
            self._system.rm_file(self._path(TRIAL))

    def at(self, file: str) -> str:
        return f"{self}/{file}"

    def there(self, files: Iterable[str]) -> Set[str]:
        """By one listing, however many they are."""
        with self._faults_told(f"{self} cannot be read"):
            return self._names() & set(files)

    @contextmanager
    def writing(self, file: str) -> Iterator[BinaryIO]:
        held = BytesIO()
        yield held
        with self._faults_told(f"{self.at(file)} could not be written"):
            self._put(file, held.getvalue())

    @contextmanager
    def picture(self, file: str) -> Iterator[Image.Image]:
        with self._faults_told(f"{self.at(file)} could not be read"):
            data = self._system.cat_file(self._path(file))
        with decode_image(data, self.at(file)) as image:
            yield image

    def _path(self, file: str) -> str:
        return f"{self._root.rstrip('/')}/{file}"

    def _names(self) -> set[str]:
        # What was listed before may be remembered, by us or by another store of the same kind.
        self._system.invalidate_cache()
        try:
            found = self._system.ls(self._root, detail=True)
        except FileNotFoundError:
            # An object store has no empty folders.
            return set()
        return {entry["name"].rpartition("/")[2] for entry in found if entry["type"] == "file"}

    def _put(self, file: str, data: bytes) -> None:
        if self._at_once:
            self._system.pipe_file(self._path(file), data, **self._kind(file))
        else:
            draft = self._path(draft_of(file))
            self._system.pipe_file(draft, data)
            self._move(draft, self._path(file))

    def _kind(self, file: str) -> dict[str, str | None]:
        words = [word for protocol, word in TYPED.items() if protocol in _protocols(self._system)]
        return {word: mimetypes.guess_type(file)[0] or "application/octet-stream" for word in words}

    def _move(self, draft: str, path: str) -> None:
        try:
            self._system.mv(draft, path)
        except Exception:
            # Some do not move onto what is there (SMB, FTP servers).
            if not self._system.exists(path):
                raise
            self._system.rm_file(path)
            self._system.mv(draft, path)

    @contextmanager
    def _faults_told(self, what: str) -> Iterator[None]:
        try:
            yield
        # Each store's library has its own family of faults: botocore's, paramiko's, Google's, OSError.
        except Exception as fault:
            raise JobError(f"{what} ({self._address.told(fault)}).") from None


def _file_system(address: StoreUrl) -> tuple[Any, str]:
    """Of fsspec, and the path in it."""
    from fsspec.core import url_to_fs

    _check_known(address.protocol)
    try:
        return url_to_fs(address.url)
    except ImportError as fault:
        package = _package(address.protocol, fault)
        raise MissingExtra(
            f"{address.protocol}:// needs {package}, which is not installed: pip install {package}"
        ) from None
    # Some connect at once, and fail as their libraries do.
    except Exception as fault:
        raise JobError(f"{address} cannot be opened ({address.told(fault)}).") from None


def _check_known(protocol: str) -> None:
    from fsspec.registry import available_protocols, registry

    known = {*available_protocols(), *registry}
    if protocol not in known:
        near = did_you_mean(protocol, sorted(known))
        raise JobError(f"{protocol}:// is no store that fsspec knows, as s3://, gs:// or az:// are.{near}")


def _package(protocol: str, fault: ImportError) -> str:
    """fsspec names the class that it needs; where that is its own, what the class needs is missing."""
    from fsspec.registry import known_implementations

    named = known_implementations.get(protocol, {}).get("class") or "fsspec"
    package = named.partition(".")[0]
    lacking: str = getattr(fault.__cause__, "name", None) or ""
    if package == "fsspec" and lacking:
        return _PACKAGES.get(lacking, lacking)
    return package


def _protocols(system: Any) -> set[str]:
    return {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
