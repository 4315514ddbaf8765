"""Many pictures into one folder or store: manifest, ledger of what is drawn, and who draws it."""

from .backends import Backend, TooLarge, backend_named
from .ledger import Ledger
from .manifest import Refused, crossed, manifest, seeds_of
from .progress import Progress
from .report import write_report
from .rows import BatchRow
from .runner import Outcome, draw_rows

__all__ = [
    "Backend",
    "BatchRow",
    "Ledger",
    "Outcome",
    "Progress",
    "Refused",
    "TooLarge",
    "backend_named",
    "crossed",
    "draw_rows",
    "manifest",
    "seeds_of",
    "write_report",
]
