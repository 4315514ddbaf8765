"""Scenes → pictures, from signed-distance fields, vectorised over the batch; any size, CPU or GPU."""

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .layouts import Layouts
from .looks import BODY, BODY_2, FILLS, GROUND, GROUND_2, GROUNDS, INK, OUTLINES, Looks
from .things import EXTENT, fields

BOLD, THIN, GLOW, SHADE = 0.055, 0.022, 0.12, 0.03
"""Reach of the outlines in half pictures, chosen at 64 px by eye."""
BLOCKS = 32  # a side, of a pixelated picture

Plane = Float[Tensor, "picture size size"]
Colour = Float[Tensor, "picture 3 #size #size"]


def render(
    thing: Int[Tensor, " picture"], looks: Looks, layouts: Layouts, size: int = 64
) -> Float[Tensor, "picture 3 {size} {size}"]:
    """Draw each (thing, look, layout) without its grain; RGB in 0..1."""
    shape, lines = distances(fields(thing.device)[thing], layouts, size)
    canvas = Canvas(looks, size)
    shape, ink = canvas.wavered(shape), canvas.colour(INK)
    picture = canvas.ground()
    picture = canvas.paint(picture, picture * 0.45, canvas.is_outline("shadow") * canvas.shadow(shape))
    picture = canvas.paint(picture, ink, canvas.is_outline("glowing outline") * glow(shape))
    picture = canvas.paint(picture, canvas.body(shape), canvas.cover(shape) * canvas.opacity())
    picture = canvas.paint(picture, ink, canvas.ink(shape, lines))
    picture = canvas.paint(picture, canvas.colour(BODY).clamp(min=0.3), canvas.shine(shape))
    picture = canvas.paint(picture, 1 - (1 - ink) * 0.5, canvas.tube(shape))
    return canvas.pixelated(picture).clamp(0, 1)


def distances(thing: Float[Tensor, "picture 2 h w"], layouts: Layouts, size: int) -> tuple[Plane, Plane]:
    """Distance to silhouette and to lines at every pixel, positive inside; several copies are united."""
    down, across = grid(size, thing.device)
    united = thing.new_full((len(thing), 2, size, size), -4.0)
    for slot in range(layouts.present.shape[1]):
        rows = layouts.present[:, slot].nonzero()[:, 0]
        if not len(rows):
            continue
        inside = _read(thing[rows], *layouts[rows].on_thing(slot, across, down))
        united[rows] = torch.maximum(united[rows], inside * layouts.size[rows, slot, None, None, None])
    return united[:, 0], united[:, 1]


def _read(fields: Float[Tensor, "picture 2 h w"], u: Plane, v: Plane) -> Float[Tensor, "picture 2 size size"]:
    """The fields at (u, v); beyond what they cover, the distance goes on falling."""
    places = torch.stack([u, v], -1) / EXTENT
    near = F.grid_sample(fields, places, padding_mode="border", align_corners=True)
    beyond = (torch.maximum(u.abs(), v.abs()) - EXTENT).clamp(min=0)
    return near - beyond[:, None]


def grid(size: int, device: torch.device) -> tuple[Float[Tensor, "size size"], Float[Tensor, "size size"]]:
    """Pixel centres, y then x, in [-1, 1]."""
    axis = (torch.arange(size, device=device) + 0.5) * 2 / size - 1
    down, across = torch.meshgrid(axis, axis, indexing="ij")
    return down, across


def soft(wave: Plane, width: float = 0.15) -> Plane:
    """A wave in -1..1 → stripes in 0..1 with soft edges."""
    return torch.sigmoid(wave / width)


def glow(shape: Plane) -> Plane:
    """1 at the silhouette, fading around it."""
    return torch.exp(-((shape.clamp(max=0) / GLOW) ** 2))


class Canvas:
    """The patterns and colours of a batch of looks on one pixel grid.

    A plane is a number for each pixel of each picture; u and v are the pixel's place along and across the
    look's own direction. A pattern is a plane that says how much of the second colour there is, 0..1.
    """

    def __init__(self, looks: Looks, size: int) -> None:
        self.looks, self.pixel = looks, 2 / size
        self.down, self.across = grid(size, looks.palette.device)
        cos, sin = (part[:, None, None] for part in (looks.angle.cos(), looks.angle.sin()))
        self.u, self.v = cos * self.across + sin * self.down, cos * self.down - sin * self.across
        self.pitch = looks.pitch[:, None, None]

    def cover(self, distance: Plane) -> Plane:
        """Distance → how much of the pixel is inside, 0..1."""
        return (distance / self.pixel + 0.5).clamp(0, 1)

    def paint(self, below: Colour, above: Colour, amount: Plane) -> Float[Tensor, "picture 3 size size"]:
        """`above` over `below`, by its amount; what no picture of the batch has costs nothing."""
        if not amount.any():
            return below.expand(-1, -1, *amount.shape[-2:])
        return below + (above - below) * amount[:, None]

    def colour(self, which: int) -> Float[Tensor, "picture 3 1 1"]:
        return self.looks.palette[:, which, :, None, None]

    def is_outline(self, name: str) -> Float[Tensor, "picture 1 1"]:
        """1 for the pictures with this outline, 0 for the others."""
        return (self.looks.outline == OUTLINES.index(name)).float()[:, None, None]

    def is_fill(self, name: str) -> Float[Tensor, "picture 1 1"]:
        """1 for the pictures with this fill, 0 for the others."""
        return (self.looks.fill == FILLS.index(name)).float()[:, None, None]

    def ground(self) -> Float[Tensor, "picture 3 size size"]:
        pattern = {
            "gradient": lambda: (self.u + 1) / 2,
            "striped": lambda: soft(torch.sin(12 * self.pitch * self.u)),
            "dotted": lambda: self._dots(2.6, 0.33),
            "cloudy": lambda: 0.5 + 0.5 * self._noise(3.0, 2),
            "checkered": self._checks,
        }
        amount = self._each_its_own(self.looks.ground, GROUNDS, pattern)
        return self.paint(self.colour(GROUND), self.colour(GROUND_2), amount)

    def body(self, shape: Plane) -> Float[Tensor, "picture 3 size size"]:
        pattern = {
            "gradient": lambda: (self.v * 0.7 + 0.5).clamp(0, 1),
            "hatched": lambda: soft(torch.sin(26 * self.pitch * self.u), 0.25),
            "halftone": lambda: self._dots(4.5, 0.42 * (0.6 + 0.4 * self.u)),
            "contour": lambda: soft(torch.sin(28 * self.pitch * shape)),
            "swirling": self._swirls,
            "speckled": lambda: soft(self._noise(11.0, 0) + 0.5 * self._noise(17.0, 3) - 0.15, 0.08),
            "mosaic": self._tiles,
            "watercolour": lambda: self._wash(shape),
            "stained glass": lambda: self._panes[2],
        }
        amount = self._each_its_own(self.looks.fill, FILLS, pattern)
        return self.paint(self.colour(BODY), self.colour(BODY_2), amount)

    def ink(self, shape: Plane, lines: Plane) -> Plane:
        """The drawing's own lines, and the outline where the look has one."""
        bold, thin = self.is_outline("bold outline"), self.is_outline("thin outline")
        thicker = 0.02 * bold - 0.01 * self.is_outline("no outline")
        drawn = self.cover(lines + thicker) * self.cover(shape + 0.045)
        edge = (bold + thin) * self.cover(BOLD * bold + THIN * thin - shape.abs())
        cuts = {"stained glass": self._leads, "engraved": lambda: self._cuts(shape)}
        cut = self._each_its_own(self.looks.fill, FILLS, cuts) * self.cover(shape)
        return torch.maximum(torch.maximum(drawn, edge), cut)

    def shadow(self, shape: Plane) -> Plane:
        """The silhouette moved right and down, with a soft edge."""
        moved = torch.stack([self.across - 0.08, self.down - 0.09], -1).expand(len(shape), -1, -1, -1)
        fallen = F.grid_sample(shape[:, None], moved, padding_mode="border", align_corners=False)[:, 0]
        return torch.sigmoid(fallen / SHADE)

    def wavered(self, shape: Plane) -> Plane:
        """The silhouette as a brush finds it, where the look is watercolour."""
        brush = {"watercolour": lambda: 0.025 * self._noise(9.0, 1)}
        return shape + self._each_its_own(self.looks.fill, FILLS, brush)

    def opacity(self) -> Float[Tensor, "picture 1 1"]:
        """Of the body: through watercolour the ground is seen."""
        return 1 - 0.2 * self.is_fill("watercolour")

    def shine(self, shape: Plane) -> Plane:
        """How strongly the light of a neon tube is seen about it."""
        light = {"neon outline": lambda: 0.8 * glow(-shape.abs())}
        return self._each_its_own(self.looks.outline, OUTLINES, light)

    def tube(self, shape: Plane) -> Plane:
        """The tube itself, along the silhouette."""
        return self._each_its_own(
            self.looks.outline, OUTLINES, {"neon outline": lambda: self.cover(THIN - shape.abs())}
        )

    def pixelated(self, picture: Colour) -> Colour:
        """In blocks of one colour each, where the look is pixelated."""
        rows = self.looks.fill == FILLS.index("pixelated")
        if not rows.any():
            return picture
        blocks = F.adaptive_avg_pool2d(picture[rows], BLOCKS)
        return picture.index_put((rows,), F.interpolate(blocks, picture.shape[-2:]))

    def _each_its_own(
        self,
        kinds: Int[Tensor, " picture"],
        names: tuple[str, ...],
        pattern: Mapping[str, Callable[[], Plane]],
    ) -> Plane:
        """Each picture's own pattern, or none; only the kinds that occur are computed."""
        out = torch.zeros_like(self.u)
        occurring = (kind for kind in kinds.unique().tolist() if names[kind] in pattern)
        for kind in occurring:
            out = torch.where((kinds == kind)[:, None, None], pattern[names[kind]](), out)
        return out

    def _checks(self) -> Plane:
        return soft(torch.sin(8 * self.pitch * self.u) * torch.sin(8 * self.pitch * self.v))

    def _dots(self, cells: float, radius: float | Plane) -> Plane:
        """A lattice of dots, `cells` a unit, `radius` in cells."""
        count = cells * self.pitch
        off_u, off_v = (torch.remainder(axis * count, 1) - 0.5 for axis in (self.u, self.v))
        return self.cover((radius - torch.sqrt(off_u**2 + off_v**2)) / count)

    def _swirls(self) -> Plane:
        bent = self.u + 0.3 * self._noise(3.5, 0)
        return soft(torch.sin(15 * self.pitch * bent + 3 * self._noise(4.0, 1)), 0.3)

    def _tiles(self) -> Plane:
        """Tiles, each of its own shade: a hash of the tile's place."""
        row, column = (torch.floor(axis * 4 * self.pitch) for axis in (self.v, self.u))
        return soft(torch.sin(column * 12.9 + row * 78.2 + self.looks.phase[:, 0, None, None]), 0.3)

    def _wash(self, shape: Plane) -> Plane:
        """Pigment: pooled at the edge, uneven within; the darker of the two colours is where it is thick."""
        thick = 0.3 + 0.25 * self._noise(5.0, 2) + 0.7 * torch.exp(-shape.clamp(min=0) / 0.04)
        light = self.looks.palette.mean(2)
        darker = (light[:, BODY_2] < light[:, BODY])[:, None, None]
        return torch.where(darker, thick, 1 - thick).clamp(0, 1)

    def _cuts(self, shape: Plane) -> Plane:
        """An engraver's lines, the thicker the nearer to the edge."""
        return soft(torch.sin(50 * self.pitch * self.v) - 0.1 - 3 * shape.clamp(0, 0.25), 0.3)

    def _leads(self) -> Plane:
        """The lines between panes: where two are equally near."""
        first, second, _ = self._panes
        return self.cover(0.03 - (second - first) / 2)

    @cached_property
    def _panes(self) -> tuple[Plane, Plane, Plane]:
        """Distance to the nearest pane's middle and to the second nearest's, and the nearest one's shade.

        Worley's cells (SIGGRAPH 1996): one middle in each square of a lattice, moved by a hash of its place.
        """
        cells = 2.6 * self.pitch
        begin = self.looks.phase[:, 3, None, None]
        row, column = torch.floor(self.v * cells), torch.floor(self.u * cells)
        first, second, shade = (torch.full_like(self.u, far) for far in (9.0, 9.0, 0.0))
        for down, across in product((-1, 0, 1), repeat=2):
            lot = torch.sin((column + across) * 12.9 + (row + down) * 78.2 + begin)
            other = torch.sin((column + across) * 39.3 + (row + down) * 11.1 + begin)
            x, y = column + across + 0.5 + 0.4 * lot, row + down + 0.5 + 0.4 * other
            far = torch.hypot(self.u * cells - x, self.v * cells - y) / cells
            shade = torch.where(far < first, soft(lot + other, 0.4), shade)
            second = torch.minimum(second, torch.maximum(first, far))
            first = torch.minimum(first, far)
        return first, second, shade

    def _noise(self, frequency: float, start: int) -> Plane:
        """Smooth clouds in about -1..1: four crossing waves."""
        begin = self.looks.phase[:, start, None, None]
        other = self.looks.phase[:, (start + 1) % 4, None, None]
        x, y = frequency * self.across, frequency * self.down
        waves = [
            torch.sin(1.3 * x + 0.7 * y + begin),
            torch.sin(1.4 * y - 0.8 * x + 2 * begin),
            torch.sin(1.14 * x + 2.09 * y + 3 * begin),
            torch.sin(2.3 * x - 1.15 * y + other),
        ]
        return sum(waves[1:], waves[0]) / 4
