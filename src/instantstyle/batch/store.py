"""Where a batch's pictures lie: what is asked of such a place, and a folder of this machine as one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Set
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from ..imaging.loading import open_image
from ..utils.atomic_write import atomic_write, clear_drafts


class Store(ABC):
    """Files by their names, each there whole or not at all. Printed, it is what a person calls it."""

    name: str
    """The last part of what a person calls it."""

    home: Path
    """A folder of this machine, for what needs a file system: the ledger and its lock."""

    @abstractmethod
    def begin(self) -> None:
        """Ready to be written to, by one run alone; what a killed one had half written is cleared away."""

    @abstractmethod
    def at(self, file: str) -> str:
        """Where the file is, for a person."""

    @abstractmethod
    def there(self, files: Iterable[str]) -> Set[str]:
        """Which of these it has."""

    @abstractmethod
    def writing(self, file: str) -> AbstractContextManager[BinaryIO]:
        """To be filled in the `with` block; afterwards it is there, in place of a former one."""

    @abstractmethod
    def picture(self, file: str) -> AbstractContextManager[Image.Image]:
        """As Pillow opens it, harmless by its header."""


class LocalStore(Store):
    """A folder of this machine; the ledger lies beside the pictures."""

    def __init__(self, path: Path) -> None:
        self.home, self.name = path, path.absolute().name

    def __str__(self) -> str:
        return str(self.home)

    def begin(self) -> None:
        clear_drafts(self.home)

    def at(self, file: str) -> str:
        return str(self.home / file)

    def there(self, files: Iterable[str]) -> Set[str]:
        return {file for file in files if (self.home / file).is_file()}

    @contextmanager
    def writing(self, file: str) -> Iterator[BinaryIO]:
        with atomic_write(self.home / file, force=True) as draft, draft.open("xb") as opened_draft:
            yield opened_draft

    def picture(self, file: str) -> AbstractContextManager[Image.Image]:
        return open_image(self.home / file)
