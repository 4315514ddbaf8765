"""Workers for a Ray cluster that tests can look into: what they did is told in a file that all nodes see."""

import os
from pathlib import Path
from time import monotonic, sleep

from instantstyle.batch.backends.ray_worker import EncodedRecipe, Worker

from .stand_in import Painter

DIARY = "INSTANTSTYLE_TEST_DIARY"
"""Environment variable: where the workers write what they do."""

PAUSE = 2.0
"""Seconds that a picture takes at least, so that a node can be lost in the middle of it."""


def tell(*words: str) -> None:
    """One line, whole, however many write at once."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    with Path(os.environ[DIARY]).open("a") as diary:
        diary.write(" ".join([node, *words]) + "\n")


def _begun() -> set[str]:
    """The nodes on which something was drawn."""
    lines = Path(os.environ[DIARY]).read_text().splitlines()
    return {line.split(" ")[0] for line in lines if " begins " in line}


class Witness(Worker):
    """The real one, slowed down and overheard."""

    def look(self, parcel, dtype):
        tell("looks", *parcel.files)
        return super().look(parcel, dtype)

    def draw(self, look, recipes):
        tell("begins", recipes[0].prompt)
        sleep(PAUSE)
        drawn = super().draw(look, recipes)
        tell("ends", recipes[0].prompt)
        return drawn


class Hand:
    """Without a model; a prompt that is fatal ends its process, as a fault in a driver would."""

    def __init__(self, device):
        self.painter = Painter()

    def dtype(self, parcel):
        return "float32"

    def look(self, parcel, dtype):
        tell("looks", *parcel.files)
        return EncodedRecipe(parcel.recipe, parcel.plain, None, (), {})

    def draw(self, look, recipes):
        tell("begins", recipes[0].prompt)
        if "fatal" in recipes[0].prompt:
            os._exit(1)
        return self.painter.draw(recipes)


class Together(Hand):
    """Does not begin before another node has begun too: so both have their share."""

    def draw(self, look, recipes):
        drawn = super().draw(look, recipes)
        deadline = monotonic() + 120
        while len(_begun()) < 2 and monotonic() < deadline:
            sleep(0.05)
        return drawn


class Stillborn(Hand):
    """On a machine where it cannot begin."""

    def __init__(self, device):
        raise ImportError("No module named 'instantstyle'")
