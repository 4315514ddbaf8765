"""Scenes: thing class × look × layout, sampled for training or from the held-out combinations."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Generator, Tensor

from .batch import TensorRows
from .layouts import LAYOUTS, Layouts, sample_layouts
from .looks import FILLS, GROUNDS, OUTLINES, LookChoices, Looks, sample_looks
from .render import render
from .things import THINGS


@dataclass(frozen=True)
class Scenes(TensorRows):
    """A batch of scenes, each of which renders to one image."""

    thing: Int[Tensor, " scene"]  # index into THINGS
    look: Looks
    layout: Layouts

    @property
    def held_out(self) -> Bool[Tensor, " scene"]:
        """Whether look, layout or the pair (thing, fill) is held out, that is, never trained on."""
        pair = (self.thing * 5 + self.look.fill * 3) % 11 == 4
        return self.look.held_out | self.layout.held_out | pair

    def render(self, size: int = 64, generator: Generator | None = None) -> Float[Tensor, "scene 3 {size} {size}"]:
        """Render the scenes.

        Below 64 px they are rendered at a multiple of the size and averaged, so that patterns do not alias.

        Args:
            size: Side of the square images in px.
            generator: Source of the grain; None for torch's global one.

        Returns:
            RGB in 0..1.
        """
        factor = -(-64 // size)
        images = F.avg_pool2d(render(self.thing, self.look, self.layout, factor * size), factor)
        noise = torch.randn(len(self), 1, size, size, generator=generator).to(images)
        return (images + self.look.grain[:, None, None, None] * noise).clamp(0, 1)


@dataclass(frozen=True)
class Scope:
    """The part of the synthetic dataset to sample from.

    Args:
        things: Number of thing classes; the first ones of `THINGS`.
        looks: Backgrounds, fills and outlines to sample from.
        layouts: Relative probability of each of `LAYOUTS`.
    """

    things: int = len(THINGS)
    looks: LookChoices = field(default_factory=LookChoices)
    layouts: tuple[float, ...] = (1.0,) * len(LAYOUTS)

    @property
    def thing_names(self) -> tuple[str, ...]:
        """Names of the thing classes in this scope."""
        return THINGS[: self.things]


MINI_SCOPE = Scope(
    things=132,
    looks=LookChoices.from_names(
        grounds=("plain", *GROUNDS),
        fills=("flat", *FILLS),
        outlines=OUTLINES,
        grain=0.0,
        ground_contrast=(0.08, 0.16),
        body_contrast=(0.17, 0.29),
    ),
    layouts=(0.7, 0.06, 0.06, 0.06, 0.06, 0.06, 0.0, 0.0),
)
"""The scope mini is trained on: 132 things in six layouts and all looks almost equally often, without grain and with
patterns that are visible at 128 px."""


def sample_scenes(
    count: int,
    generator: Generator | None = None,
    scope: Scope | None = None,
    *,
    held_out: bool | None = False,
) -> Scenes:
    """Sample scenes by rejection.

    Args:
        count: Number of scenes.
        generator: Source of randomness; None for torch's global one.
        scope: The part of the dataset to sample from; None for all of it.
        held_out: False for combinations that are trained on, True for held-out ones, None for both.
    """
    scope = scope or Scope()

    def sample() -> Scenes:
        return Scenes(
            thing=torch.randint(scope.things, (count,), generator=generator),
            look=sample_looks(count, generator, scope.looks),
            layout=sample_layouts(count, generator, scope.layouts),
        )

    scenes = sample()
    if held_out is None:
        return scenes
    while not (fits := scenes.held_out == held_out).all():
        scenes = scenes.where(fits, sample())
    return scenes


def to_pil_image(image: Float[Tensor, "3 height width"]) -> Image.Image:
    """Convert RGB in 0..1 to an 8-bit PIL image."""
    return Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().cpu().numpy())
