"""Pictures of no thing: a look's colours in clouds and strokes, as paintings and photographs have them.

From these the image tower learns that a picture has colours, whether or not it shows a thing that it knows.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from instantstyle.synthetic.batch import BatchRandom
from instantstyle.synthetic.looks import BODY, BODY_2, GROUND, GROUND_2, INK, Looks
from training.mini.vae import Pictures

OCTAVES = (2, 4, 8, 16)  # cells a side of the clouds' layers, each half as strong as the one before
LONG, BROAD = 6, 20  # cells along and across the strokes
GRAIN = 0.08  # standard deviation of the noise on top, at most

Plane = Float[Tensor, "picture 1 size size"]


def paintings(looks: Looks, size: int, generator: Generator) -> Pictures:
    """RGB in 0..1, one of each look: most of it the ground's colours, the rest the body's, some ink."""
    dice = BatchRandom(len(looks), generator)

    def lot(low: float, high: float) -> Float[Tensor, "picture 1 1 1"]:
        return dice.uniform(low, high)[:, None, None, None]

    ground = mixed(looks, GROUND, GROUND_2, steep(strokes(looks, size, generator), 0.3))
    body = mixed(looks, BODY, BODY_2, steep(strokes(looks, size, generator), 0.3))
    where = steep(clouds(len(looks), size, generator) - lot(0.0, 0.8), lot(0.02, 0.5))
    inked = steep(strokes(looks, size, generator) - lot(1.2, 2.5), 0.2)
    drawn = ground.lerp(body, where).lerp(looks.palette[:, INK, :, None, None], inked)
    noise = torch.randn(drawn.shape, generator=generator)
    return (drawn + lot(0.0, GRAIN) * noise).clamp(0, 1)


def mixed(looks: Looks, first: int, second: int, amount: Plane) -> Pictures:
    """Two of the palette's colours."""
    ones, others = (looks.palette[:, which, :, None, None] for which in (first, second))
    return ones + (others - ones) * amount


def steep(plane: Plane, width: float | Tensor) -> Plane:
    """0 below nought, 1 above it, soft over `width`."""
    return torch.sigmoid(plane / width)


def clouds(count: int, size: int, generator: Generator) -> Plane:
    """Noise of mean 0 and deviation 1, coarse parts the strongest."""
    layers = [grown(torch.randn(count, 1, cells, cells, generator=generator), size) for cells in OCTAVES]
    return evened(sum((layer / 2**depth for depth, layer in enumerate(layers)), torch.zeros(())))


def strokes(looks: Looks, size: int, generator: Generator) -> Plane:
    """The same, drawn out along each look's own direction."""
    cells = torch.randn(len(looks), 1, BROAD, LONG, generator=generator)
    cos, sin = looks.angle.cos(), looks.angle.sin()
    turned = torch.stack([torch.stack([cos, sin, 0 * cos], 1), torch.stack([-sin, cos, 0 * cos], 1)], 1)
    # Turned, a picture's corners reach 1.42 from its middle.
    places = F.affine_grid(turned / 1.42, [len(looks), 1, size, size], align_corners=False)
    return evened(
        F.grid_sample(cells, places, mode="bicubic", padding_mode="reflection", align_corners=False)
    )


def grown(cells: Tensor, size: int) -> Plane:
    return F.interpolate(cells, (size, size), mode="bicubic", align_corners=False)


def evened(plane: Plane) -> Plane:
    """Mean 0 and deviation 1 in every picture."""
    return (plane - plane.mean((2, 3), keepdim=True)) / plane.std((2, 3), keepdim=True)
