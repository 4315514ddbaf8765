"""Where it sits: position, size, turn, mirroring and number, apart from what it is and how it looks."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from .batch import BatchRandom, TensorRows

LAYOUTS = ("centre", "left", "right", "top", "bottom", "two", "row", "ring")
SLOTS = 5  # at most so many copies of the thing in one picture

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
"""Where each copy sits (x and y in [-1, 1], y downwards) and half its longer side, before jitter."""


@dataclass(frozen=True)
class Layouts(TensorRows):
    kind: Int[Tensor, " layout"]
    x: Float[Tensor, "layout slot"]
    y: Float[Tensor, "layout slot"]
    size: Float[Tensor, "layout slot"]  # half the thing's longer side, the picture being [-1, 1]
    present: Bool[Tensor, "layout slot"]
    turn: Float[Tensor, " layout"]  # radians
    mirrored: Bool[Tensor, " layout"]

    @property
    def held_out(self) -> Bool[Tensor, " layout"]:
        """Mirrored and turned right by more than 0.1 rad: one layout in about eight is never trained on."""
        return self.mirrored & (self.turn > 0.1)

    @property
    def box(self) -> Float[Tensor, "layout 4"]:
        """Top, left, height and width of what is there, in fractions of the picture, clipped to it."""
        far = torch.where(self.present, 0.0, torch.inf)
        top, left = (self.y - self.size + far).amin(1), (self.x - self.size + far).amin(1)
        bottom, right = (self.y + self.size - far).amax(1), (self.x + self.size - far).amax(1)
        top, left, bottom, right = (((edge + 1) / 2).clamp(0, 1) for edge in (top, left, bottom, right))
        return torch.stack([top, left, bottom - top, right - left], 1)

    def on_thing(
        self, slot: int, across: Float[Tensor, "*point"], down: Float[Tensor, "*point"]
    ) -> tuple[Float[Tensor, "layout *point"], Float[Tensor, "layout *point"]]:
        """Where points of the picture lie on the copy in that slot, turned and mirrored back: across, down.

        The picture is [-1, 1], and so is the copy's longer side.
        """
        columns = (self.x[:, slot], self.y[:, slot], self.size[:, slot], self.turn.cos(), self.turn.sin())
        flips = torch.where(self.mirrored, -1.0, 1.0)
        x, y, size, cos, sin, flip = (
            column.reshape(-1, *(1,) * across.dim()) for column in (*columns, flips)
        )
        right, low = (across - x) / size, (down - y) / size
        return (cos * right + sin * low) * flip, cos * low - sin * right


def sample_layouts(
    count: int, generator: Generator | None = None, weights: tuple[float, ...] = (1.0,) * len(LAYOUTS)
) -> Layouts:
    """`count` layouts, whether held out or not; `weights` say how likely each of LAYOUTS is."""
    dice = BatchRandom(count, generator)
    kind = torch.multinomial(torch.tensor(weights), count, replacement=True, generator=generator)
    x, y, size, present = (column[kind] for column in _table())
    return Layouts(
        kind=kind,
        x=x + dice.uniform(-0.1, 0.1, 1),
        y=y + dice.uniform(-0.1, 0.1, 1),
        size=size * dice.uniform(0.85, 1.15, 1),
        present=present,
        turn=dice.uniform(-0.2, 0.2),
        mirrored=dice.chance(0.5),
    )


def _table() -> tuple[
    Float[Tensor, "layout slot"],
    Float[Tensor, "layout slot"],
    Float[Tensor, "layout slot"],
    Bool[Tensor, "layout slot"],
]:
    """_PLACES as x, y, size and presence, all of LAYOUTS by SLOTS."""
    rows = torch.zeros(len(LAYOUTS), SLOTS, 4)
    for row, name in enumerate(LAYOUTS):
        for slot, place in enumerate(_PLACES[name]):
            rows[row, slot] = torch.tensor([*place, 1.0])
    x, y, size, present = rows.unbind(-1)
    return x, y, size.clamp(min=0.01), present > 0
