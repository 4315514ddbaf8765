"""Style and its price, without any network: look by palette, texture and light; leakage by the drawing.

    s = 1 − d / d̄        for palette, texture and light, distances d
    s = (c − c̄) / (1 − c̄)  for drawing and layout, cosines c

1 is the same picture, 0 as far as two unrelated pictures are on average (d̄, c̄: each part's `UNRELATED`), and
below 0 farther than that. No part of the look knows what is shown or where; a look is never given without the
drawing beside it, which rises where the reference's subject comes along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from . import brightness as light
from . import composition, palette, texture
from .pixels import common_side, lab

NAME = "pixels"
"""What stands beside these scores as their model: there is none."""

PARTS = ("palette", "texture", "light")


@dataclass(frozen=True)
class LookScores:
    """One number a picture, −∞..1; see above for 1 and 0."""

    palette: Float[Tensor, " picture"]
    texture: Float[Tensor, " picture"]
    light: Float[Tensor, " picture"]
    drawing: Float[Tensor, " picture"]
    """The reference's own drawing is there: leakage, where prompt and reference show different things."""
    layout: Float[Tensor, " picture"]
    """Things are where the reference has them."""

    @property
    def look(self) -> Float[Tensor, " picture"]:
        """The mean of palette, texture and light."""
        return torch.stack([getattr(self, part) for part in PARTS]).mean(0)

    def named(self) -> dict[str, list[float]]:
        """Every part, and the look."""
        return {name: values.tolist() for name, values in {"look": self.look, **asdict(self)}.items()}


@dataclass(frozen=True)
class Traits:
    """What these scores compare of a picture."""

    palette: Tensor
    texture: Tensor
    light: Tensor
    drawing: Tensor
    layout: Tensor


def look(pictures: Sequence[Image.Image], reference: Image.Image) -> LookScores:
    """Each picture beside the reference; all at the size of the smallest."""
    side = common_side([*pictures, reference])
    wanted = traits(reference, side)
    return compared([traits(picture, side) for picture in pictures], wanted)


def traits(picture: Image.Image, side: int) -> Traits:
    """Of the picture made as small as `side`² pixels."""
    small = lab(picture, side)
    return Traits(
        palette.palette(small),
        texture.texture(small),
        light.light(small),
        composition.drawing(small),
        composition.layout(small),
    )


def compared(pictures: Sequence[Traits], other: Traits) -> LookScores:
    """Each against the other."""
    rows = [likeness(picture, other) for picture in pictures]
    return LookScores(**{name: torch.tensor([row[name] for row in rows]) for name in _NAMES})


def likeness(mine: Traits, other: Traits) -> dict[str, float]:
    """All five scores of two pictures."""
    near = {part: 1 - module.apart(*_pair(part, mine, other)) / module.UNRELATED for part, module in _LOOKS}
    usual: Mapping[str, float] = composition.UNRELATED
    for part, unrelated in usual.items():
        near[part] = (composition.alike(*_pair(part, mine, other)) - unrelated) / (1 - unrelated)
    return near


def consistency(pictures: Sequence[Image.Image]) -> dict[str, float]:
    """How alike a set looks: each score's mean over all its pairs; of one picture nothing is known.

    Meant for pictures of different prompts: a set whose drawing is alike too shows one thing again and again.
    """
    side = common_side(pictures)
    each = to_others([traits(picture, side) for picture in pictures])
    return {name: sum(values) / len(values) for name, values in each.items() if values}


def to_others(pictures: Sequence[Traits]) -> dict[str, list[float]]:
    """Each picture's mean likeness to the others of its set, by score; empty for a set of one."""
    if len(pictures) < 2:
        return {}
    found: dict[str, list[float]] = {name: [0.0] * len(pictures) for name in ("look", *_NAMES)}
    for i in range(len(pictures)):
        for j in range(i):
            near = likeness(pictures[i], pictures[j])
            near["look"] = sum(near[part] for part in PARTS) / len(PARTS)
            for name, value in near.items():
                found[name][i] += value / (len(pictures) - 1)
                found[name][j] += value / (len(pictures) - 1)
    return found


_LOOKS: tuple[tuple[str, Any], ...] = (("palette", palette), ("texture", texture), ("light", light))
_NAMES = (*PARTS, "drawing", "layout")


def _pair(part: str, mine: Traits, other: Traits) -> tuple[Tensor, Tensor]:
    return getattr(mine, part), getattr(other, part)
