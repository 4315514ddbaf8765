"""Rendering of scenes from signed distance fields, vectorised over the batch; any size, CPU or GPU."""

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .layouts import Layouts
from .looks import BODY, BODY_2, FILLS, GROUND, GROUND_2, GROUNDS, INK, OUTLINES, Looks
from .things import EXTENT, load_shape_fields

BOLD, THIN, GLOW, SHADE = 0.055, 0.022, 0.12, 0.03
"""Widths of the outlines as fractions of half the image side, chosen by eye at 64 px."""
BLOCKS = 32  # per side of a pixelated image

Plane = Float[Tensor, "image size size"]
Colour = Float[Tensor, "image 3 #size #size"]


def render(
    thing: Int[Tensor, " image"], looks: Looks, layouts: Layouts, size: int = 64
) -> Float[Tensor, "image 3 {size} {size}"]:
    """Render each (thing, look, layout) without its grain.

    Args:
        thing: Indices into `THINGS`.
        looks: A look for each image.
        layouts: A layout for each image.
        size: Side of the square images in px.

    Returns:
        RGB in 0..1.
    """
    shape, lines = signed_distances(load_shape_fields(thing.device)[thing], layouts, size)
    canvas = Canvas(looks, size)
    shape, ink = canvas.roughen_watercolour(shape), canvas.colour(INK)
    image = canvas.ground()
    image = canvas.blend(image, image * 0.45, canvas.is_outline("shadow") * canvas.shadow(shape))
    image = canvas.blend(image, ink, canvas.is_outline("glowing outline") * glow(shape))
    image = canvas.blend(image, canvas.body(shape), canvas.coverage(shape) * canvas.opacity())
    image = canvas.blend(image, ink, canvas.ink(shape, lines))
    image = canvas.blend(image, canvas.colour(BODY).clamp(min=0.3), canvas.neon_glow(shape))
    image = canvas.blend(image, 1 - (1 - ink) * 0.5, canvas.neon_tube(shape))
    return canvas.pixelate(image).clamp(0, 1)


def signed_distances(thing: Float[Tensor, "image 2 h w"], layouts: Layouts, size: int) -> tuple[Plane, Plane]:
    """Place the shape fields in the images; the copies of a layout are united.

    Args:
        thing: Shape fields as `load_shape_fields` returns them, one per image.
        layouts: A layout for each image.
        size: Side of the square images in px.

    Returns:
        Signed distances to the silhouette and to the lines at every pixel, positive inside.
    """
    down, across = pixel_grid(size, thing.device)
    united = thing.new_full((len(thing), 2, size, size), -4.0)
    for slot in range(layouts.present.shape[1]):
        rows = layouts.present[:, slot].nonzero()[:, 0]
        if not len(rows):
            continue
        u, v = layouts[rows].to_thing_coordinates(slot, across, down)
        near = F.grid_sample(thing[rows], torch.stack([u, v], -1) / EXTENT, padding_mode="border", align_corners=True)
        # Outside the stored field the distance goes on decreasing.
        beyond = (torch.maximum(u.abs(), v.abs()) - EXTENT).clamp(min=0)
        inside = near - beyond[:, None]
        united[rows] = torch.maximum(united[rows], inside * layouts.size[rows, slot, None, None, None])
    return united[:, 0], united[:, 1]


def pixel_grid(size: int, device: torch.device) -> tuple[Float[Tensor, "size size"], Float[Tensor, "size size"]]:
    """Compute the coordinates of pixel centres in [-1, 1]: y, then x."""
    axis = (torch.arange(size, device=device) + 0.5) * 2 / size - 1
    down, across = torch.meshgrid(axis, axis, indexing="ij")
    return down, across


def soft_threshold(wave: Plane, width: float = 0.15) -> Plane:
    """Convert a wave in -1..1 to stripes in 0..1 with edges of the given softness."""
    return torch.sigmoid(wave / width)


def glow(shape: Plane) -> Plane:
    """Compute a glow: 1 inside the silhouette, falling off as a Gaussian outside it."""
    return torch.exp(-((shape.clamp(max=0) / GLOW) ** 2))


class Canvas:
    """Patterns and colours of a batch of looks on one pixel grid.

    A plane is one number per pixel of each image. u and v are pixel coordinates along and across the angle
    of the look. A pattern is a plane with the amount of the second colour, 0..1.

    Args:
        looks: A look for each image.
        size: Side of the square images in px.
    """

    def __init__(self, looks: Looks, size: int) -> None:
        self.looks, self.pixel = looks, 2 / size
        self.down, self.across = pixel_grid(size, looks.palette.device)
        cos, sin = (part[:, None, None] for part in (looks.angle.cos(), looks.angle.sin()))
        self.u, self.v = cos * self.across + sin * self.down, cos * self.down - sin * self.across
        self.pitch = looks.pitch[:, None, None]

    def coverage(self, distance: Plane) -> Plane:
        """Convert a signed distance to the covered share of each pixel, 0..1."""
        return (distance / self.pixel + 0.5).clamp(0, 1)

    def blend(self, below: Colour, above: Colour, amount: Plane) -> Float[Tensor, "image 3 size size"]:
        """Blend `above` over `below` by `amount` (0..1); skipped where no image of the batch needs it."""
        if not amount.any():
            return below.expand(-1, -1, *amount.shape[-2:])
        return below + (above - below) * amount[:, None]

    def colour(self, which: int) -> Float[Tensor, "image 3 1 1"]:
        """Return one of the palette's colours, for example `BODY`, of each image."""
        return self.looks.palette[:, which, :, None, None]

    def is_outline(self, name: str) -> Float[Tensor, "image 1 1"]:
        """Return 1 for the images with this outline, 0 for the others."""
        return (self.looks.outline == OUTLINES.index(name)).float()[:, None, None]

    def is_fill(self, name: str) -> Float[Tensor, "image 1 1"]:
        """Return 1 for the images with this fill, 0 for the others."""
        return (self.looks.fill == FILLS.index(name)).float()[:, None, None]

    def ground(self) -> Float[Tensor, "image 3 size size"]:
        """Render the backgrounds."""
        patterns = {
            "gradient": lambda: (self.u + 1) / 2,
            "striped": lambda: soft_threshold(torch.sin(12 * self.pitch * self.u)),
            "dotted": lambda: self._dots(2.6, 0.33),
            "cloudy": lambda: 0.5 + 0.5 * self._noise(3.0, 2),
            "checkered": self._checks,
        }
        amount = self._select_pattern(self.looks.ground, GROUNDS, patterns)
        return self.blend(self.colour(GROUND), self.colour(GROUND_2), amount)

    def body(self, shape: Plane) -> Float[Tensor, "image 3 size size"]:
        """Render the fills across the whole image; the caller masks them by the silhouette."""
        patterns = {
            "gradient": lambda: (self.v * 0.7 + 0.5).clamp(0, 1),
            "hatched": lambda: soft_threshold(torch.sin(26 * self.pitch * self.u), 0.25),
            "halftone": lambda: self._dots(4.5, 0.42 * (0.6 + 0.4 * self.u)),
            "contour": lambda: soft_threshold(torch.sin(28 * self.pitch * shape)),
            "swirling": self._swirls,
            "speckled": lambda: soft_threshold(self._noise(11.0, 0) + 0.5 * self._noise(17.0, 3) - 0.15, 0.08),
            "mosaic": self._tiles,
            "watercolour": lambda: self._wash(shape),
            "stained glass": lambda: self._panes[2],
        }
        amount = self._select_pattern(self.looks.fill, FILLS, patterns)
        return self.blend(self.colour(BODY), self.colour(BODY_2), amount)

    def ink(self, shape: Plane, lines: Plane) -> Plane:
        """Compute where lines are: those of the shape, the outline, and those of the fill."""
        bold, thin = self.is_outline("bold outline"), self.is_outline("thin outline")
        thicker = 0.02 * bold - 0.01 * self.is_outline("no outline")
        strokes = self.coverage(lines + thicker) * self.coverage(shape + 0.045)
        edge = (bold + thin) * self.coverage(BOLD * bold + THIN * thin - shape.abs())
        cuts = {"stained glass": self._leads, "engraved": lambda: self._cuts(shape)}
        cut = self._select_pattern(self.looks.fill, FILLS, cuts) * self.coverage(shape)
        return torch.maximum(torch.maximum(strokes, edge), cut)

    def shadow(self, shape: Plane) -> Plane:
        """Compute a drop shadow: the silhouette moved right and down, with a soft edge."""
        moved = torch.stack([self.across - 0.08, self.down - 0.09], -1).expand(len(shape), -1, -1, -1)
        fallen = F.grid_sample(shape[:, None], moved, padding_mode="border", align_corners=False)[:, 0]
        return torch.sigmoid(fallen / SHADE)

    def roughen_watercolour(self, shape: Plane) -> Plane:
        """Roughen the silhouette of watercolour looks."""
        brush = {"watercolour": lambda: 0.025 * self._noise(9.0, 1)}
        return shape + self._select_pattern(self.looks.fill, FILLS, brush)

    def opacity(self) -> Float[Tensor, "image 1 1"]:
        """Return the opacity of the body; watercolour is partly transparent."""
        return 1 - 0.2 * self.is_fill("watercolour")

    def neon_glow(self, shape: Plane) -> Plane:
        """Compute the light around a neon outline, 0..1."""
        light = {"neon outline": lambda: 0.8 * glow(-shape.abs())}
        return self._select_pattern(self.looks.outline, OUTLINES, light)

    def neon_tube(self, shape: Plane) -> Plane:
        """Compute the neon tube along the silhouette, 0..1."""
        return self._select_pattern(
            self.looks.outline, OUTLINES, {"neon outline": lambda: self.coverage(THIN - shape.abs())}
        )

    def pixelate(self, image: Colour) -> Colour:
        """Reduce images of pixelated looks to blocks of one colour each."""
        rows = self.looks.fill == FILLS.index("pixelated")
        if not rows.any():
            return image
        blocks = F.adaptive_avg_pool2d(image[rows], BLOCKS)
        return image.index_put((rows,), F.interpolate(blocks, image.shape[-2:]))

    def _select_pattern(
        self,
        indices: Int[Tensor, " image"],
        names: tuple[str, ...],
        patterns: Mapping[str, Callable[[], Plane]],
    ) -> Plane:
        """Select each image's pattern by name, zero where it has none; compute only those that occur."""
        out = torch.zeros_like(self.u)
        for index in indices.unique().tolist():
            if names[index] in patterns:
                out = torch.where((indices == index)[:, None, None], patterns[names[index]](), out)
        return out

    def _checks(self) -> Plane:
        return soft_threshold(torch.sin(8 * self.pitch * self.u) * torch.sin(8 * self.pitch * self.v))

    def _dots(self, cells: float, radius: float | Plane) -> Plane:
        """Compute a lattice of dots, `cells` per unit, with `radius` in cells."""
        count = cells * self.pitch
        off_u, off_v = (torch.remainder(axis * count, 1) - 0.5 for axis in (self.u, self.v))
        return self.coverage((radius - torch.sqrt(off_u**2 + off_v**2)) / count)

    def _swirls(self) -> Plane:
        bent = self.u + 0.3 * self._noise(3.5, 0)
        return soft_threshold(torch.sin(15 * self.pitch * bent + 3 * self._noise(4.0, 1)), 0.3)

    def _tiles(self) -> Plane:
        """Compute square tiles, each with a shade from a hash of its position."""
        row, column = (torch.floor(axis * 4 * self.pitch) for axis in (self.v, self.u))
        return soft_threshold(torch.sin(column * 12.9 + row * 78.2 + self.looks.phase[:, 0, None, None]), 0.3)

    def _wash(self, shape: Plane) -> Plane:
        """Compute watercolour pigment: dense and dark at the edge, uneven within."""
        thick = 0.3 + 0.25 * self._noise(5.0, 2) + 0.7 * torch.exp(-shape.clamp(min=0) / 0.04)
        light = self.looks.palette.mean(2)
        darker = (light[:, BODY_2] < light[:, BODY])[:, None, None]
        return torch.where(darker, thick, 1 - thick).clamp(0, 1)

    def _cuts(self, shape: Plane) -> Plane:
        """Compute engraved lines, thicker towards the edge."""
        return soft_threshold(torch.sin(50 * self.pitch * self.v) - 0.1 - 3 * shape.clamp(0, 0.25), 0.3)

    def _leads(self) -> Plane:
        """Compute the leads between glass panes, where two centres are equally near."""
        first, second, _ = self._panes
        return self.coverage(0.03 - (second - first) / 2)

    @cached_property
    def _panes(self) -> tuple[Plane, Plane, Plane]:
        """Distances to the nearest and the second nearest pane centre, and the shade of the nearest pane.

        Worley noise (SIGGRAPH 1996): one centre in each square of a lattice, displaced by a hash of its
        position.
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
            shade = torch.where(far < first, soft_threshold(lot + other, 0.4), shade)
            second = torch.minimum(second, torch.maximum(first, far))
            first = torch.minimum(first, far)
        return first, second, shade

    def _noise(self, frequency: float, start: int) -> Plane:
        """Compute smooth noise in about -1..1 from four crossing waves."""
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
