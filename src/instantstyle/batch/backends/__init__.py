"""Who draws the batches. A backend is one class in a file of its own here, and a line in `BACKENDS`."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from ...errors import JobError, did_you_mean
from ...recipe import Recipe

Drawing = tuple[Image.Image, Recipe]
"""A picture, and the recipe that makes it again."""

BACKENDS = {"local": "local.Local", "ray": "ray_cluster.RayCluster"}
"""Imported when asked for: a backend may need what is not installed."""


class TooLarge(JobError):
    """So many pictures at once do not fit into memory."""


class NoWorkers(JobError):
    """Nobody is left who could draw: the run ends, and what it lacks waits for the next."""


@runtime_checkable
class Backend(Protocol):
    """Draws; knows nothing of files, folders and what was drawn before."""

    @property
    def workers(self) -> int:
        """How many batches it draws at once."""
        ...

    @property
    def size(self) -> int:
        """How many pictures a batch has where nobody says."""
        ...

    def draw(self, recipes: Sequence[Recipe]) -> list[Drawing]:
        """Recipes that differ in prompt and seed alone, in one call; called from up to `workers` threads.

        `TooLarge` where they do not fit together, `Deserted` where nobody can draw any more. What is lost on
        the way (a machine, a connection) is the backend's own to try again; any other exception says that one
        of these recipes cannot be drawn.
        """
        ...


def backend_named(name: str, device: str | None = None, **settings: Any) -> Backend:
    """Ready to draw; nothing is loaded yet. `settings` are the backend's own, see there."""
    if name not in BACKENDS:
        raise JobError(
            f"There is no backend {name}; there is {', '.join(BACKENDS)}.{did_you_mean(name, list(BACKENDS))}"
        )
    module, _, kind = BACKENDS[name].rpartition(".")
    return getattr(import_module(f".{module}", __name__), kind)(device, **settings)
