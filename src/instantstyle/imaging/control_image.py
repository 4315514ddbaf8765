"""Preparation of an image that is restyled: resizing to the model's area, and edges for a ControlNet."""

from collections.abc import Mapping
from importlib import import_module
from math import ceil, sqrt
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ImageError, JobError
from ..recipe_types import MAX_SIDE
from ..utils.missing_package import missing_package_error
from ..utils.text import one_line

LATENT_STRIDE = 8  # px of an image per latent pixel

DEFAULT_STRENGTH = 0.6
"""Default strength of image-to-image generation: 0 keeps the image, 1 ignores it."""

STRENGTHS = {"mini": 0.95}
"""Default strength by model, where another one is needed.

mini keeps the colours of the image up to 0.85, six of its eight steps from an image. Of 20 images and references of
the synthetic dataset, with prompts (benchmarks/restyle_strength.py): at 0.6, 0.75, 0.85, 0.95 and 1 the palette is
0.00, 0.30, 0.30, 0.61 and 0.68 of the reference's; the image's layout remains in 1.00, 0.80, 0.80, 0.75 and 0.75."""

START_STEPS = {"mini": 8}
"""Default number of steps from an image, by model, where it is more than from noise.

mini draws from noise in 4, of which every strength from 0.75 to below 1 is 3, too few to lose the image's colours."""

CANNY_LOW, CANNY_HIGH = 100, 200
"""Canny's thresholds, as in the model cards' example of the Canny ControlNets."""


CONTROL_SCALES: Mapping[str, float] = {"canny": 1.0, "tile": 0.4}
"""Strength of the ControlNet by what it reads: diffusers' default, and InstantStyle-Plus' (arXiv 2407.00788)."""


def default_strength(model: str, control: str = "none") -> float:
    """Return the strength of image-to-image generation where none is given.

    Args:
        model: Name of the model.
        control: With a ControlNet, which preserves the structure, the image itself need not be kept.
    """
    return 1.0 if control != "none" else STRENGTHS.get(model, DEFAULT_STRENGTH)


def check_draws_step(strength: float, steps: int) -> None:
    """Check that an image to start from gets a step: diffusers draws `int(steps * strength)` of them.

    Args:
        strength: How far the result may depart from the image, 0..1.
        steps: Number of steps of an image that starts from noise, from 1.

    Raises:
        JobError: No step would be drawn.
    """
    if int(steps * strength) < 1:
        raise JobError(
            f"strength {strength:g} of {steps} step{'s' * (steps > 1)} is less than one step, so that nothing would "
            f"be drawn; set strength to at least {ceil(1000 / steps) / 1000:g}, or take more steps."
        )


def resize_to_area(image: Image.Image, side: int) -> Image.Image:
    """Resize an image in its own proportions to about as many pixels as a square has.

    Args:
        image: The image.
        side: Side of that square in px.

    Returns:
        The image; width and height are multiples of `LATENT_STRIDE`.

    Raises:
        ImageError: As in `fit_size`.
    """
    return resize_image(image, side)


def resize_image(image: Image.Image, side: int, width: int | None = None, height: int | None = None) -> Image.Image:
    """Resize an image to a size, or to about the area of a square.

    Args:
        image: The image.
        side: Side of the square in px, where neither width nor height is given.
        width: Width in px, a multiple of `LATENT_STRIDE`; None keeps the proportions.
        height: Height in px, as `width`.

    Raises:
        ImageError: As in `fit_size`.
    """
    return image.resize(fit_size(image.size, side, width, height), Image.Resampling.LANCZOS)


def fit_size(size: tuple[int, int], side: int, width: int | None = None, height: int | None = None) -> tuple[int, int]:
    """Compute the size to which `resize_image` resizes an image; arguments as there.

    Args:
        size: Width and height of the image in px.
        side: Side of the square in px.
        width: Width in px; None keeps the proportions.
        height: Height in px, as `width`.

    Returns:
        Width and height in px, multiples of `LATENT_STRIDE`.

    Raises:
        ImageError: In the proportions of the image, a side would be longer than `MAX_SIDE`.
    """
    if width is None and height is None:
        scale = side / sqrt(size[0] * size[1])
        fitted = _scale_length(size[0], scale), _scale_length(size[1], scale)
    else:
        width = width or _scale_length(size[0], (height or 0) / size[1])
        fitted = width, height or _scale_length(size[1], width / size[0])
    if max(fitted) > MAX_SIDE:
        raise ImageError(
            f"The image to start from has {size[0]}×{size[1]} px; in these proportions it would be drawn at "
            f"{fitted[0]}×{fitted[1]} px, and a side has at most {MAX_SIDE}; crop it to a shape nearer to a square."
        )
    return fitted


def _scale_length(length: int, scale: float) -> int:
    return max(LATENT_STRIDE, round(length * scale / LATENT_STRIDE) * LATENT_STRIDE)


def control_arguments(image: Image.Image, control: str, name: str) -> dict[str, object]:
    """Return the arguments of a pipeline with a ControlNet.

    Args:
        image: The image whose structure is preserved.
        control: `"canny"` for its edges, `"tile"` for the image itself, `"none"` for no ControlNet.
        name: Name of the pipeline's argument for what the ControlNet reads.

    Returns:
        What it reads and its strength; nothing without a ControlNet.

    Raises:
        MissingExtra: As `require_library`.
    """
    if control == "none":
        return {}
    read = canny_edges(image) if control == "canny" else image
    return {name: read, "controlnet_conditioning_scale": CONTROL_SCALES[control]}


def require_library(control: str) -> None:
    """Check that the library is installed which prepares what a ControlNet reads, before a model is loaded.

    Args:
        control: As in `control_arguments`.

    Raises:
        MissingExtra: OpenCV, which detects edges, is not installed or cannot be imported.
    """
    if control == "canny":
        _import_opencv()


def canny_edges(image: Image.Image) -> Image.Image:
    """Detect edges by Canny's method (IEEE PAMI 8(6), 1986) with OpenCV.

    Args:
        image: The image.

    Returns:
        RGB, edges white on black.

    Raises:
        MissingExtra: As `require_library`.
    """
    edges = _import_opencv().Canny(np.asarray(image.convert("RGB")), CANNY_LOW, CANNY_HIGH)
    return Image.fromarray(edges).convert("RGB")


def _import_opencv() -> Any:
    try:
        return import_module("cv2")
    # Builds for a desktop are installed and cannot be imported where libGL is missing.
    except ImportError as error:
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == "cv2"
        why = "is not installed" if is_absent else f"cannot be imported ({one_line(error, 200)})"
        raise missing_package_error(
            "control canny detects edges with OpenCV",
            "instantstyle[control]",
            why=why,
            otherwise=", or set control to none",
        ) from None
