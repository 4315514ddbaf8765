"""Workers for a Ray cluster that log what they do to a file that all nodes share."""

import os
from pathlib import Path
from time import monotonic, sleep

from instantstyle.batch.backends.ray_worker import EncodedRecipe, Worker

from .stub_backend import StubBackend

LOG_VARIABLE = "INSTANTSTYLE_TEST_LOG"
"""Environment variable with the path of the log."""

DELAY = 2.0
"""Minimum seconds for each image, so that a test can remove a node while it generates one."""


def log(*words: str) -> None:
    """Append one line to the log in one write, so that lines of several workers do not mix."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    with Path(os.environ[LOG_VARIABLE]).open("a") as file:
        file.write(" ".join([node, *words]) + "\n")


def _started_nodes() -> set[str]:
    """Nodes that have begun to generate an image."""
    lines = Path(os.environ[LOG_VARIABLE]).read_text().splitlines()
    return {line.split(" ")[0] for line in lines if " begins " in line}


class SlowWorker(Worker):
    """The real worker, with a log and a delay."""

    def encode(self, packed, dtype):
        log("encodes", *packed.files)
        return super().encode(packed, dtype)

    def generate(self, encoded, recipes):
        log("begins", recipes[0].prompt)
        sleep(DELAY)
        images = super().generate(encoded, recipes)
        log("ends", recipes[0].prompt)
        return images


class StubWorker:
    """A worker without a model; the prompt "fatal" ends its process, as an error in a driver would."""

    def __init__(self, device):
        self.backend = StubBackend()

    def dtype(self, packed):
        return "float32"

    def encode(self, packed, dtype):
        log("encodes", *packed.files)
        return EncodedRecipe(packed.recipe, packed.plain, None, (), (), (), {})

    def generate(self, encoded, recipes):
        log("begins", recipes[0].prompt)
        if "fatal" in recipes[0].prompt:
            os._exit(1)
        return self.backend.generate(recipes)


class SynchronizedWorker(StubWorker):
    """Waits until another node has begun an image too, so that both nodes take part."""

    def generate(self, encoded, recipes):
        images = super().generate(encoded, recipes)
        deadline = monotonic() + 120
        while len(_started_nodes()) < 2 and monotonic() < deadline:
            sleep(0.05)
        return images


class FailingWorker(StubWorker):
    """A worker that cannot start on its machine."""

    def __init__(self, device):
        raise ImportError("No module named 'instantstyle'")
