"""A backend without a model: a small picture in an instant, one and the same for the same recipe."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from PIL import Image

from instantstyle.batch import BatchRow, TooLarge
from instantstyle.batch.backends import Drawing
from instantstyle.recipe import Recipe


@dataclass
class Painter:
    """`memory`: how many pictures it can draw at once; prompts that hold `bad` cannot be drawn."""

    memory: int = 1000
    bad: str = "impossible"
    workers: int = 1
    size: int = 1
    dtype: str | None = None
    calls: list[list[str]] = field(default_factory=list)

    def draw(self, recipes: Sequence[Recipe]) -> list[Drawing]:
        self.calls.append([recipe.prompt for recipe in recipes])
        if len(recipes) > self.memory:
            raise TooLarge("out of memory")
        if any(self.bad in recipe.prompt for recipe in recipes):
            raise ValueError("this cannot\nbe drawn")
        # As a model's rounding does, the picture shows in what company it was drawn.
        company = "".join(BatchRow(recipe).key for recipe in recipes)
        drawn = [recipe.but(dtype=recipe.dtype or self.dtype) for recipe in recipes]
        return [(_picture(company + BatchRow(recipe).key), recipe) for recipe in drawn]


def _picture(told: str) -> Image.Image:
    return Image.frombytes("RGB", (4, 8), sha256(told.encode()).digest() * 3)


def rows_of(count: int, **fields) -> list[BatchRow]:
    """Rows that differ in words."""
    return [BatchRow(Recipe(prompt=f"thing {n}", seed=n, **fields), f"row {n}") for n in range(1, count + 1)]
