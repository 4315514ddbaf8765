"""Thing × look × layout: drawing scenes for training, and those held out for measuring."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Generator, Tensor

from .batch import TensorRows
from .layouts import LAYOUTS, Layouts, sample_layouts
from .looks import FILLS, GROUNDS, OUTLINES, LookKinds, Looks, sample_looks
from .render import render
from .things import THINGS


@dataclass(frozen=True)
class Scenes(TensorRows):
    thing: Int[Tensor, " scene"]
    look: Looks
    layout: Layouts

    @property
    def held_out(self) -> Bool[Tensor, " scene"]:
        """Never trained on: a held-out look, a held-out layout, or a held-out (thing, fill) pair."""
        pair = (self.thing * 5 + self.look.fill * 3) % 11 == 4
        return self.look.held_out | self.layout.held_out | pair

    def pictures(
        self, size: int = 64, generator: Generator | None = None
    ) -> Float[Tensor, "scene 3 {size} {size}"]:
        """RGB in 0..1; below 64 px drawn larger and averaged down, so that patterns do not alias."""
        times = -(-64 // size)
        drawn = F.avg_pool2d(render(self.thing, self.look, self.layout, times * size), times)
        noise = torch.randn(len(self), 1, size, size, generator=generator).to(drawn)
        return (drawn + self.look.grain[:, None, None, None] * noise).clamp(0, 1)


@dataclass(frozen=True)
class Scope:
    """How much of the world is drawn from: the bundled model knows a part of it."""

    things: int = len(THINGS)
    kinds: LookKinds = field(default_factory=LookKinds)
    layouts: tuple[float, ...] = (1.0,) * len(LAYOUTS)

    @property
    def names(self) -> tuple[str, ...]:
        """The things that are drawn: the first so many."""
        return THINGS[: self.things]


MINI_SCOPE = Scope(
    things=132,
    kinds=LookKinds.named(
        grounds=(*("plain",) * 4, *("gradient",) * 2, *GROUNDS[2:]),
        fills=(*("flat",) * 6, *("gradient",) * 3, *FILLS[2:]),
        outlines=("thin outline", "bold outline", *OUTLINES),
        grain=0.0,
    ),
    layouts=(0.7, 0.06, 0.06, 0.06, 0.06, 0.06, 0.0, 0.0),
)
"""What the bundled model knows: the first 132 things, all looks but grain, plain ones more, six layouts."""


def sample_scenes(
    count: int,
    generator: Generator | None = None,
    scope: Scope | None = None,
    *,
    held_out: bool | None = False,
) -> Scenes:
    """`count` scenes: training ones (False, the default), held-out ones (True) or either (None)."""
    scope = scope or Scope()
    scenes = _draw(count, generator, scope)
    if held_out is None:
        return scenes
    while not (fits := scenes.held_out == held_out).all():
        scenes = scenes.where(fits, _draw(count, generator, scope))
    return scenes


def _draw(count: int, generator: Generator | None, scope: Scope) -> Scenes:
    return Scenes(
        thing=torch.randint(scope.things, (count,), generator=generator),
        look=sample_looks(count, generator, scope.kinds),
        layout=sample_layouts(count, generator, scope.layouts),
    )


def as_image(picture: Float[Tensor, "3 height width"]) -> Image.Image:
    """RGB in 0..1 → a picture as files hold them."""
    return Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().cpu().numpy())
