"""Stores behind URLs that fsspec supports: s3://, gs://, az://, sftp:// and others."""

import json
import mimetypes
import os
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from ..errors import JobError, suggest_nearest
from ..imaging.decoding import decode_image
from ..imaging.png_check import HEAD_BYTES, TAIL, has_all_texts, read_texts_of_ends
from ..utils.atomic_write import atomic_write, is_draft_name, make_draft_name
from ..utils.missing_package import missing_package_error
from .store import LocalStore, Store, StoredFile
from .store_url import StoreUrl

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

LEDGER_ROOT_VARIABLE = "INSTANTSTYLE_LEDGERS"
"""Environment variable that overrides the folder for ledgers of remote stores."""

ATOMIC_PROTOCOLS = {"s3", "gs", "az", "hf", "memory"}
"""Protocols whose put is atomic. Elsewhere, a file is written under a draft name and then renamed."""

CONTENT_TYPE_ARGUMENTS = {"s3": "ContentType", "gs": "content_type"}
"""Argument of a put for the content type. Without it, browsers download the report instead of showing it."""

WRITE_TEST_FILE = ".instantstyle"
"""Written before any image is generated, and deleted again if the store permits that."""

READ_TOGETHER = 256
"""Files whose beginnings are requested at once; fsspec sends them at the same time where the protocol can."""

_VOLATILE = ("time", "atime")
"""Entries of listings that change when a file is read."""

_PACKAGES = {"smbclient": "smbprotocol"}
"""Packages whose name differs from that of their module."""


def open_store(output: str | Path) -> Store:
    """Return the store of a folder or URL.

    Args:
        output: A path, or a URL of any protocol that fsspec supports. `file://` is the same as a path.

    Returns:
        The store. Only some file systems connect at this point.

    Raises:
        JobError: fsspec does not know the protocol, or the connection failed.
        MissingExtra: The protocol needs a package that is not installed.
    """
    if isinstance(output, Path) or "://" not in output:
        return LocalStore(Path(output))
    url = StoreUrl(output)
    file_system, root = _open_file_system(url)
    if "file" in _protocols(file_system):
        return LocalStore(Path(root))
    return FsspecStore(url, file_system, root)


def ledger_root() -> Path:
    """Return the folder for ledgers of remote stores, ~/.local/state/instantstyle/batches on Linux."""
    from platformdirs import user_state_path

    override = os.environ.get(LEDGER_ROOT_VARIABLE)
    return Path(override) if override else user_state_path("instantstyle") / "batches"


class FsspecStore(Store):
    """A store behind a URL. Its ledger is on this machine, because SQLite needs a file system.

    Args:
        url: The URL of the store.
        file_system: fsspec's file system for the URL.
        root: Path of the store in the file system.
    """

    def __init__(self, url: StoreUrl, file_system: "AbstractFileSystem", root: str) -> None:
        self._url, self._file_system, self._root = url, file_system, root
        self._atomic = bool(ATOMIC_PROTOCOLS & _protocols(file_system))
        self.ledger_folder, self.name = ledger_root() / url.key, str(url).rpartition("/")[2]

    def __str__(self) -> str:
        return str(self._url)

    def prepare(self) -> None:
        with atomic_write(self.ledger_folder / "url.txt", force=True) as draft:
            draft.write_text(f"{self}\n", encoding="utf-8")
        with self._translate_errors(f"{self} cannot be written to"):
            if not self._atomic:
                self._file_system.makedirs(self._root, exist_ok=True)
                for name in filter(is_draft_name, self._list_files()):
                    self._file_system.rm_file(self._path(name))
            self._put(WRITE_TEST_FILE, b"A batch can be written here.\n")
        # Permission to write does not always include permission to delete.
        with suppress(Exception):
            self._file_system.rm_file(self._path(WRITE_TEST_FILE))

    def display_path(self, file: str) -> str:
        return f"{self}/{file}"

    def list_files(self, files: Set[str]) -> Mapping[str, StoredFile]:
        # One listing costs a fraction of a request per file.
        with self._translate_errors(f"{self} cannot be read"):
            return {name: file for name, file in self._list_files().items() if name in files}

    def read_texts(self, files: Mapping[str, StoredFile]) -> Iterator[tuple[str, Mapping[str, str] | None]]:
        # The size is known and no image is that small; stores refuse ranges of empty files.
        small = {name for name, file in files.items() if file.size is not None and file.size < len(TAIL)}
        yield from ((name, None) for name in small)
        names = [name for name in files if name not in small]
        for start in range(0, len(names), READ_TOGETHER):
            together = {name: files[name].size for name in names[start : start + READ_TOGETHER]}
            # Both ends tell a cut file, without the transfer of all images.
            heads = self._read_ranges(
                {name: (0, min(HEAD_BYTES, size or HEAD_BYTES)) for name, size in together.items()}
            )
            tails = self._read_ranges({name: _tail_range(size) for name, size in together.items()})
            for name, head in heads.items():
                if not has_all_texts(head):
                    head = self._read_ranges({name: (0, None)})[name]
                yield name, read_texts_of_ends(head, tails[name][-len(TAIL) :])

    @contextmanager
    def open_writer(self, file: str) -> Iterator[BinaryIO]:
        buffer = BytesIO()
        yield buffer
        with self._translate_errors(f"{self.display_path(file)} could not be written"):
            self._put(file, buffer.getvalue())

    @contextmanager
    def open_image(self, file: str) -> Iterator[Image.Image]:
        with self._translate_errors(f"{self.display_path(file)} could not be read"):
            data = self._file_system.cat_file(self._path(file))
        assert isinstance(data, bytes)
        with decode_image(data, self.display_path(file)) as image:
            yield image

    def _path(self, file: str) -> str:
        return f"{self._root.rstrip('/')}/{file}"

    def _read_ranges(self, ranges: Mapping[str, tuple[int, int | None]]) -> Mapping[str, bytes]:
        """Read a range of each file; files that were deleted meanwhile give no bytes."""
        paths = [self._path(name) for name in ranges]
        starts, ends = [start for start, _ in ranges.values()], [end for _, end in ranges.values()]
        with self._translate_errors(f"{self} could not be read"):
            parts = self._file_system.cat_ranges(paths, starts, ends, on_error="return")
            for part in parts:
                if isinstance(part, Exception) and not isinstance(part, FileNotFoundError):
                    raise part
        return {
            name: b"" if isinstance(part, Exception) else bytes(part) for name, part in zip(ranges, parts, strict=True)
        }

    def _list_files(self) -> dict[str, StoredFile]:
        # fsspec caches listings, and shares the cache between file systems of equal arguments.
        self._file_system.invalidate_cache()
        try:
            entries = self._file_system.ls(self._root, detail=True)
        except FileNotFoundError:
            # An object store has no empty folders.
            return {}
        return {entry["name"].rpartition("/")[2]: _describe(entry) for entry in entries if entry["type"] == "file"}

    def _put(self, file: str, data: bytes) -> None:
        path = self._path(file)
        if self._atomic:
            content_type = mimetypes.guess_type(file)[0] or "application/octet-stream"
            protocols = _protocols(self._file_system)
            arguments = {
                name: content_type for protocol, name in CONTENT_TYPE_ARGUMENTS.items() if protocol in protocols
            }
            self._file_system.pipe_file(path, data, **arguments)
            return
        draft = self._path(make_draft_name(file))
        self._file_system.pipe_file(draft, data)
        try:
            self._file_system.mv(draft, path)
        except Exception:
            # Some file systems do not move onto an existing file (SMB, FTP servers).
            if not self._file_system.exists(path):
                raise
            self._file_system.rm_file(path)
            self._file_system.mv(draft, path)

    @contextmanager
    def _translate_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        # Each store's library has its own exceptions: botocore's, paramiko's, Google's, OSError.
        except Exception as error:
            raise JobError(f"{what} ({self._url.describe_error(error)}).") from None


def _tail_range(size: int | None) -> tuple[int, int | None]:
    """Return the range of the last bytes of a PNG; all of a file of unknown size."""
    return (0, None) if size is None else (size - len(TAIL), size)


def _describe(entry: Mapping[str, object]) -> StoredFile:
    """Describe an entry of a listing. Its version covers times, entity tags and whatever else the store tells."""
    size = entry.get("size")
    told = {name: value for name, value in entry.items() if name not in _VOLATILE}
    version = sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    return StoredFile(size if isinstance(size, int) else None, version)


def _open_file_system(url: StoreUrl) -> "tuple[AbstractFileSystem, str]":
    """Return fsspec's file system for the URL, and the path in it."""
    from fsspec.core import url_to_fs
    from fsspec.registry import available_protocols, registry

    known = {*available_protocols(), *registry}
    if url.protocol not in known:
        hint = suggest_nearest(url.protocol, sorted(known))
        raise JobError(
            f"{url.protocol}:// is not a protocol that fsspec supports, such as s3://, gs:// or az://.{hint}"
        )
    try:
        return url_to_fs(url.url)
    except ImportError as error:
        package = _missing_package(url.protocol, error)
        raise missing_package_error(f"{url.protocol}:// needs {package}", package) from None
    # Some file systems connect here and raise exceptions of their libraries.
    except Exception as error:
        raise JobError(f"{url} cannot be opened ({url.describe_error(error)}).") from None


def _missing_package(protocol: str, error: ImportError) -> str:
    """Return the package to install.

    It is the one of the protocol's class in fsspec's registry, or, if the class is part of fsspec, the one
    whose import failed.
    """
    from fsspec.registry import known_implementations

    class_path = known_implementations.get(protocol, {}).get("class") or "fsspec"
    package = class_path.partition(".")[0]
    missing_module: str = getattr(error.__cause__, "name", None) or ""
    if package == "fsspec" and missing_module:
        return _PACKAGES.get(missing_module, missing_module)
    return package


def _protocols(file_system: "AbstractFileSystem") -> set[str]:
    protocol = file_system.protocol
    return {protocol} if isinstance(protocol, str) else set(protocol)
