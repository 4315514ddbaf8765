"""Generate many images into one folder or store: manifest, ledger, runner and backends."""

from .backends import Backend, BatchTooLarge, check_backend, create_backend
from .fsspec_store import open_store
from .ledger import Ledger
from .manifest import ManifestError, cross_product, parse_seeds, read_manifest
from .progress import Progress
from .report import write_report
from .rows import BatchRow
from .runner import Outcome, generate_rows

__all__ = [
    "Backend",
    "BatchRow",
    "BatchTooLarge",
    "Ledger",
    "ManifestError",
    "Outcome",
    "Progress",
    "check_backend",
    "create_backend",
    "cross_product",
    "generate_rows",
    "open_store",
    "parse_seeds",
    "read_manifest",
    "write_report",
]
