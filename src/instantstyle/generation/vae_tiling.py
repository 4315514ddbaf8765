"""Large images decoded in tiles, because the VAE needs memory in proportion to their pixels."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MAX_UNTILED_PIXELS = 2_500_000
"""Largest image that is decoded at once: above all sizes that SDXL was trained on (1 megapixel)."""


@contextmanager
def tile_large_images(pipe: Any, width: int, height: int) -> Iterator[None]:
    """Let the VAE work in tiles inside the `with` block if the image has more than `MAX_UNTILED_PIXELS`.

    Args:
        pipe: A diffusers pipeline.
        width: Width of the image in pixels.
        height: Its height.
    """
    vae = pipe.vae
    if width * height <= MAX_UNTILED_PIXELS or getattr(vae, "use_tiling", True):
        yield
        return
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()
