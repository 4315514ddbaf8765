"""Where the images of a batch are stored: the interface, and a local folder."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Set
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from ..imaging.loading import open_image
from ..utils.atomic_write import atomic_write, remove_drafts


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
    def existing_files(self, files: Iterable[str]) -> Set[str]:
        """Return those of the given names that exist in the store."""

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
        remove_drafts(self.ledger_folder)

    def display_path(self, file: str) -> str:
        return str(self.ledger_folder / file)

    def existing_files(self, files: Iterable[str]) -> Set[str]:
        return {file for file in files if (self.ledger_folder / file).is_file()}

    @contextmanager
    def open_writer(self, file: str) -> Iterator[BinaryIO]:
        path = self.ledger_folder / file
        with atomic_write(path, force=True) as draft, draft.open("xb") as opened:
            yield opened

    def open_image(self, file: str) -> AbstractContextManager[Image.Image]:
        return open_image(self.ledger_folder / file)
