"""Backends that generate the batches of a run: one class in one module each, listed in `BACKENDS`."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, runtime_checkable

from PIL import Image

from ...errors import JobError, suggest_nearest
from ...recipe import Recipe
from ...utils.missing_package import missing_package_error

GeneratedImage = tuple[Image.Image, Recipe]
"""An image, and the complete recipe that reproduces it."""

BACKENDS = {"local": "local.LocalBackend", "ray": "ray_cluster.RayBackend"}
"""Module and class by name. A module is imported on use, because it may need an optional dependency."""


class BatchTooLarge(JobError):
    """There is not enough memory to generate the batch in one call."""


class NoWorkers(JobError):
    """No worker is left. The run ends, and the rows that are not finished wait for the next run."""


@runtime_checkable
class Backend(Protocol):
    """Generates images. A backend handles neither output files nor the ledger."""

    @property
    def workers(self) -> int:
        """Number of batches that it generates at the same time."""
        ...

    @property
    def batch_size(self) -> int:
        """Default number of images in a batch."""
        ...

    def generate(self, recipes: Sequence[Recipe]) -> list[GeneratedImage]:
        """Generate one batch in one call of the pipeline. Called from up to `workers` threads.

        Args:
            recipes: Recipes that differ only in prompt and seed.

        Returns:
            An image with its recipe for each of the recipes.

        Raises:
            BatchTooLarge: There is not enough memory for all of them together.
            NoWorkers: No worker is left.
            Exception: One of these recipes cannot be generated. Failures of machines and connections are
                retried by the backend.
        """
        ...


def check_backend(name: str) -> None:
    """Check that a backend exists and that its package is installed, before rows are read.

    Args:
        name: `local` or `ray`.

    Raises:
        JobError: The name is unknown.
        MissingExtra: The backend needs a package that is not installed.
    """
    if name not in BACKENDS:
        raise JobError(
            f"There is no backend {name}; choose from {', '.join(BACKENDS)}.{suggest_nearest(name, list(BACKENDS))}"
        )
    if name == "ray" and find_spec("ray") is None:
        raise missing_package_error("--backend ray needs Ray", "instantstyle[ray]")


def create_backend(name: str, device: str | None = None, **settings: object) -> Backend:
    """Create a backend; it loads the model on first use.

    Args:
        name: `local` or `ray`.
        device: A torch device; None for the fastest.
        **settings: Arguments of the backend's class.

    Returns:
        The backend.

    Raises:
        JobError: The name is unknown, or the backend cannot be set up.
        MissingExtra: The backend needs a package that is not installed.
    """
    check_backend(name)
    module, _, backend_class = BACKENDS[name].rpartition(".")
    return getattr(import_module(f".{module}", __name__), backend_class)(device, **settings)
