"""A backend without a model: small images that depend only on the recipes of their batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from PIL import Image

from instantstyle.batch import BatchRow, BatchTooLarge
from instantstyle.batch.backends import GeneratedImage
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Dtype


@dataclass
class StubBackend:
    """Records the prompts of each call.

    `memory` is the largest number of images in a call; prompts that contain `bad` fail.
    """

    memory: int = 1000
    bad: str = "impossible"
    workers: int = 1
    batch_size: int = 1
    dtype: Dtype | None = None
    calls: list[list[str]] = field(default_factory=list)

    def generate(self, recipes: Sequence[Recipe]) -> list[GeneratedImage]:
        self.calls.append([recipe.prompt for recipe in recipes])
        if len(recipes) > self.memory:
            raise BatchTooLarge("out of memory")
        if any(self.bad in recipe.prompt for recipe in recipes):
            raise ValueError("this cannot\nbe generated")
        # Like the rounding of a real model, the image depends on the other images of the call.
        batch = "".join(BatchRow(recipe).key for recipe in recipes)
        completed = [recipe.replace(dtype=recipe.dtype or self.dtype) for recipe in recipes]
        return [(_image(batch + BatchRow(recipe).key), recipe) for recipe in completed]


def _image(text: str) -> Image.Image:
    return Image.frombytes("RGB", (4, 8), sha256(text.encode()).digest() * 3)


def make_rows(count: int, **fields) -> list[BatchRow]:
    """Make rows that differ in prompt and seed."""
    return [BatchRow(Recipe(prompt=f"thing {n}", seed=n, **fields), f"row {n}") for n in range(1, count + 1)]
