"""Large images decoded in tiles, because the VAE needs memory in proportion to their pixels."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MAX_UNTILED_PIXELS = 2_500_000
"""Largest image that is decoded at once: above all sizes that SDXL was trained on (1 megapixel)."""


@contextmanager
def tile_large_images(pipe: Any, width: int | None, height: int | None) -> Iterator[None]:
    """Let the VAE work in tiles inside the `with` block if the image has more than `MAX_UNTILED_PIXELS`.

    Args:
        pipe: A diffusers pipeline.
        width: Width of the image in pixels; None for the model's own.
        height: Its height.
    """
    vae = pipe.vae
    if (width or 0) * (height or 0) <= MAX_UNTILED_PIXELS or getattr(vae, "use_tiling", True):
        yield
        return
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()
