"""What is kept of a picture that is restyled: its proportions, and its edges for a ControlNet to hold."""

from math import sqrt

import numpy as np
from PIL import Image

from ..errors import MissingExtra

GRAIN = 8  # px: what every latent stands for
STRENGTH = 0.6
"""How far a restyled picture may leave its start: between keeping it as it is, 0, and drawing it anew, 1."""

LOW, HIGH = 100, 200
"""Canny's thresholds, those that the Canny ControlNets were trained around (their model cards' example)."""


def resize_to_area(photo: Image.Image, side: int) -> Image.Image:
    """The photo in its own proportions, with about as many pixels as a square of `side`."""
    scale = side / sqrt(photo.width * photo.height)
    width, height = (max(GRAIN, round(length * scale / GRAIN) * GRAIN) for length in photo.size)
    return photo.resize((width, height), Image.Resampling.LANCZOS)


def canny_edges(photo: Image.Image) -> Image.Image:
    """Canny's edges (IEEE PAMI 8(6), 1986), white on black, by OpenCV."""
    try:
        import cv2
    except ModuleNotFoundError:
        raise MissingExtra(
            "--control canny draws edges with OpenCV, which is not installed: "
            "pip install 'instantstyle[control]'"
        ) from None
    return Image.fromarray(cv2.Canny(np.asarray(photo.convert("RGB")), LOW, HIGH)).convert("RGB")
