"""Layouts: position, size, rotation, mirroring and number of things, independent of class and look."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from .batch import BatchRandom, TensorRows

LAYOUTS = ("centre", "left", "right", "top", "bottom", "two", "row", "ring")
SLOTS = 5  # the largest number of copies of the thing in one image

_PLACES = {
    "centre": [(0, 0, 0.78)],
    "left": [(-0.42, 0, 0.5)],
    "right": [(0.42, 0, 0.5)],
    "top": [(0, -0.42, 0.5)],
    "bottom": [(0, 0.42, 0.5)],
    "two": [(-0.48, 0, 0.44), (0.48, 0, 0.44)],
    "row": [(-0.64, 0, 0.3), (0, 0, 0.3), (0.64, 0, 0.3)],
    "ring": [(x, y, 0.28) for x, y in ((0, -0.62), (0.59, -0.19), (0.36, 0.5), (-0.36, 0.5), (-0.59, -0.19))],
}
"""Position of each copy (x and y in [-1, 1], y downwards) and half its longer side, before jitter."""


@dataclass(frozen=True)
class Layouts(TensorRows):
    """A batch of layouts. Coordinates span [-1, 1] across the image, y downwards."""

    category: Int[Tensor, " layout"]  # index into LAYOUTS
    x: Float[Tensor, "layout slot"]
    y: Float[Tensor, "layout slot"]
    size: Float[Tensor, "layout slot"]  # half the thing's longer side
    present: Bool[Tensor, "layout slot"]
    turn: Float[Tensor, " layout"]  # radians
    mirrored: Bool[Tensor, " layout"]

    @property
    def held_out(self) -> Bool[Tensor, " layout"]:
        """Whether a layout is mirrored and turned clockwise by more than 0.1 rad: about one in eight."""
        return self.mirrored & (self.turn > 0.1)

    @property
    def bounding_box(self) -> Float[Tensor, "layout 4"]:
        """Top, left, height and width of all copies together, in fractions of the image, clipped to it."""
        far = torch.where(self.present, 0.0, torch.inf)
        top, left = (self.y - self.size + far).amin(1), (self.x - self.size + far).amin(1)
        bottom, right = (self.y + self.size - far).amax(1), (self.x + self.size - far).amax(1)
        top, left, bottom, right = (((edge + 1) / 2).clamp(0, 1) for edge in (top, left, bottom, right))
        return torch.stack([top, left, bottom - top, right - left], 1)

    def to_thing_coordinates(
        self, slot: int, across: Float[Tensor, "*point"], down: Float[Tensor, "*point"]
    ) -> tuple[Float[Tensor, "layout *point"], Float[Tensor, "layout *point"]]:
        """Convert image coordinates to the coordinate system of one copy, undoing rotation and mirroring.

        Args:
            slot: Number of the copy, below `SLOTS`.
            across: Horizontal image coordinates in [-1, 1].
            down: Vertical image coordinates in [-1, 1].

        Returns:
            Horizontal and vertical coordinates in which the longer side of the copy spans [-1, 1].
        """
        columns = (self.x[:, slot], self.y[:, slot], self.size[:, slot], self.turn.cos(), self.turn.sin())
        flips = torch.where(self.mirrored, -1.0, 1.0)
        x, y, size, cos, sin, flip = (column.reshape(-1, *(1,) * across.dim()) for column in (*columns, flips))
        right, low = (across - x) / size, (down - y) / size
        return (cos * right + sin * low) * flip, cos * low - sin * right


def sample_layouts(
    count: int, generator: Generator | None = None, weights: tuple[float, ...] = (1.0,) * len(LAYOUTS)
) -> Layouts:
    """Sample layouts, held-out ones included.

    Args:
        count: Number of layouts.
        generator: Source of randomness; None for torch's global one.
        weights: Relative probability of each of `LAYOUTS`.
    """
    random = BatchRandom(count, generator)
    category = torch.multinomial(torch.tensor(weights), count, replacement=True, generator=generator)
    slots = torch.zeros(len(LAYOUTS), SLOTS, 4)  # x, y, size, presence
    for row, name in enumerate(LAYOUTS):
        for slot, place in enumerate(_PLACES[name]):
            slots[row, slot] = torch.tensor([*place, 1.0])
    x, y, size, present = slots[category].unbind(-1)
    return Layouts(
        category=category,
        x=x + random.uniform(-0.1, 0.1, 1),
        y=y + random.uniform(-0.1, 0.1, 1),
        # Empty slots keep a size above zero: coordinates are divided by it.
        size=size.clamp(min=0.01) * random.uniform(0.85, 1.15, 1),
        present=present > 0,
        turn=random.uniform(-0.2, 0.2),
        mirrored=random.bernoulli(0.5),
    )
