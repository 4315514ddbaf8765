"""Where the images of a batch are stored: the interface, and a local folder."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Set
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from ..errors import JobError
from ..imaging.loading import open_image
from ..imaging.png_check import read_texts_if_complete
from ..utils.atomic_write import atomic_write, remove_drafts
from ..utils.text import one_line


@dataclass(frozen=True)
class StoredFile:
    """A file of a store as a listing describes it.

    Attributes:
        size: Size in bytes; None where the store does not tell it.
        version: Text that changes whenever the file changes.
    """

    size: int | None
    version: str


class Store(ABC):
    """A flat set of files, each either complete or absent. `str()` is the folder or URL for messages."""

    name: str
    """Last part of the folder's path or of the URL."""

    ledger_folder: Path
    """Local folder for the ledger and its lock, which need a file system."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the store ready for writing and delete unfinished files of a killed run.

        Only the run that holds the lock may call this.

        Raises:
            JobError: The store cannot be written to.
        """

    @abstractmethod
    def display_path(self, file: str) -> str:
        """Return the path or URL of a file for messages."""

    @abstractmethod
    def list_files(self, files: Set[str]) -> Mapping[str, StoredFile]:
        """Return those of the given names that exist in the store, without reading a file.

        Raises:
            JobError: The store could not be read.
        """

    @abstractmethod
    def read_texts(self, files: Mapping[str, StoredFile]) -> Iterator[tuple[str, Mapping[str, str] | None]]:
        """Read the texts that PNG files carry.

        Args:
            files: Files as `list_files` returned them.

        Yields:
            Name and texts by PNG text key; None for a file that is absent, cut short, damaged or not a PNG. How
            much of a file is read to find out is up to the store.

        Raises:
            JobError: The store could not be read.
        """

    @abstractmethod
    def open_writer(self, file: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for writing; it appears under its name, replacing an earlier one, on leaving the block.

        Raises:
            JobError: The file could not be written.
        """

    @abstractmethod
    def open_image(self, file: str) -> AbstractContextManager[Image.Image]:
        """Open an image with Pillow after checking its header, see `imaging.loading.open_image`.

        Raises:
            ImageError: The file is not a readable image.
            JobError: The store could not be read.
        """


class LocalStore(Store):
    """A folder of this machine; the ledger is in the same folder as the images."""

    def __init__(self, path: Path) -> None:
        self.ledger_folder, self.name = path, path.absolute().name

    def __str__(self) -> str:
        return str(self.ledger_folder)

    def prepare(self) -> None:
        try:
            remove_drafts(self.ledger_folder)
        except OSError as error:
            raise JobError(f"{self} cannot be written to ({one_line(error.strerror or error)}).") from None

    def display_path(self, file: str) -> str:
        return str(self.ledger_folder / file)

    def list_files(self, files: Set[str]) -> Mapping[str, StoredFile]:
        found: dict[str, StoredFile] = {}
        try:
            with os.scandir(self.ledger_folder) as entries:
                for entry in entries:
                    # Files may be deleted meanwhile; links without a target are like missing files.
                    with suppress(FileNotFoundError):
                        if entry.name in files and entry.is_file():
                            status = entry.stat()
                            version = f"{status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"
                            found[entry.name] = StoredFile(status.st_size, version)
        except OSError as error:
            raise JobError(f"{self} cannot be read ({one_line(error.strerror or error)}).") from None
        return found

    def read_texts(self, files: Mapping[str, StoredFile]) -> Iterator[tuple[str, Mapping[str, str] | None]]:
        for file in files:
            yield file, read_texts_if_complete(self.ledger_folder / file)

    @contextmanager
    def open_writer(self, file: str) -> Iterator[BinaryIO]:
        path = self.ledger_folder / file
        with atomic_write(path, force=True) as draft, draft.open("xb") as opened:
            yield opened

    def open_image(self, file: str) -> AbstractContextManager[Image.Image]:
        return open_image(self.ledger_folder / file)
