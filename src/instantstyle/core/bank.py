"""Pictures that have nothing to do with a reference: what `content_scale="auto"` measures against.

Held-out scenes of the small world, the same on every machine, drawn when first asked for.
"""

from functools import cache

import torch
from PIL import Image

from ..synthetic import MINI_SCOPE, sample_scenes, to_pil_image

COUNT = 16
"""Enough for a median that the one scene which may show the named thing does not move."""

SIDE = 192
"""Pixels: what a CLIP sees of them is then as sharp as of a person's own picture."""

SEED = 0


@cache
def unrelated_pictures() -> tuple[Image.Image, ...]:
    """`COUNT` of them."""
    scenes = sample_scenes(COUNT, torch.Generator().manual_seed(SEED), MINI_SCOPE, held_out=True)
    drawn = scenes.render(SIDE, torch.Generator().manual_seed(SEED))
    return tuple(to_pil_image(picture) for picture in drawn)
