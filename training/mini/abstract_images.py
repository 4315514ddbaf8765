"""Abstract images: the colours of a look in clouds and brush strokes, without any object.

From these the image encoder learns to encode the colours of an image, whether or not it shows a known object.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from instantstyle.synthetic.batch import BatchRandom
from instantstyle.synthetic.looks import BODY, BODY_2, GROUND, GROUND_2, INK, Looks
from training.mini.vae import Images

OCTAVES = (2, 4, 8, 16)  # cells a side of the noise layers, each half as strong as the one before
STROKE_LENGTH, STROKE_WIDTH = 6, 20  # cells along and across the strokes
MAX_GRAIN = 0.08  # largest standard deviation of the pixel noise

Plane = Float[Tensor, "image 1 size size"]


def render_abstract_images(looks: Looks, size: int, generator: Generator) -> Images:
    """Render one abstract image for each look.

    Args:
        looks: Looks whose colours and angle are used: most of the area in the colours of the ground, the rest
            in those of the body, some in ink.
        size: Side of the images in px.
        generator: Source of random numbers.

    Returns:
        RGB in 0..1, [image 3 size size].
    """
    random = BatchRandom(len(looks), generator)

    def uniform(low: float, high: float) -> Float[Tensor, "image 1 1 1"]:
        return random.uniform(low, high)[:, None, None, None]

    ground = mix_colours(looks, GROUND, GROUND_2, soft_step(render_strokes(looks, size, generator), 0.3))
    body = mix_colours(looks, BODY, BODY_2, soft_step(render_strokes(looks, size, generator), 0.3))
    body_area = soft_step(render_clouds(len(looks), size, generator) - uniform(0.0, 0.8), uniform(0.02, 0.5))
    ink_area = soft_step(render_strokes(looks, size, generator) - uniform(1.2, 2.5), 0.2)
    images = ground.lerp(body, body_area).lerp(looks.palette[:, INK, :, None, None], ink_area)
    noise = torch.randn(images.shape, generator=generator)
    return (images + uniform(0.0, MAX_GRAIN) * noise).clamp(0, 1)


def mix_colours(looks: Looks, first: int, second: int, amount: Plane) -> Images:
    """Interpolate between two colours of each palette."""
    start, end = (looks.palette[:, part, :, None, None] for part in (first, second))
    return start + (end - start) * amount


def soft_step(plane: Plane, width: float | Tensor) -> Plane:
    """Return a step from 0 to 1 at zero, softened over `width`."""
    return torch.sigmoid(plane / width)


def render_clouds(count: int, size: int, generator: Generator) -> Plane:
    """Render noise of mean 0 and standard deviation 1, strongest at low frequencies."""
    layers = [
        F.interpolate(
            torch.randn(count, 1, cells, cells, generator=generator),
            (size, size),
            mode="bicubic",
            align_corners=False,
        )
        for cells in OCTAVES
    ]
    return standardize(sum((layer / 2**depth for depth, layer in enumerate(layers)), torch.zeros(())))


def render_strokes(looks: Looks, size: int, generator: Generator) -> Plane:
    """Render noise of mean 0 and standard deviation 1, stretched along each look's angle."""
    cells = torch.randn(len(looks), 1, STROKE_WIDTH, STROKE_LENGTH, generator=generator)
    cos, sin = looks.angle.cos(), looks.angle.sin()
    rotation = torch.stack([torch.stack([cos, sin, 0 * cos], 1), torch.stack([-sin, cos, 0 * cos], 1)], 1)
    # The corners of a rotated image are 1.42 from its centre.
    positions = F.affine_grid(rotation / 1.42, [len(looks), 1, size, size], align_corners=False)
    return standardize(F.grid_sample(cells, positions, mode="bicubic", padding_mode="reflection", align_corners=False))


def standardize(plane: Plane) -> Plane:
    """Scale every image to mean 0 and standard deviation 1."""
    return (plane - plane.mean((2, 3), keepdim=True)) / plane.std((2, 3), keepdim=True)
