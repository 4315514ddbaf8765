"""Checks of a pipeline's output: images that are black or not finite."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from .protocols import Pipeline, is_transformer, network_of


def flagged_images(output: object) -> object:
    """Return of each image whether the safety checker has blacked it out; None if the pipeline has none."""
    if isinstance(output, tuple):
        return output[1] if len(output) > 1 and isinstance(output[1], list) else None
    return getattr(output, "nsfw_content_detected", None)


def check_output(images: object, flagged: object, pipe: Pipeline) -> None:
    """Check that no image is black or holds NaN, which is what an overflow of float16 ends in.

    Args:
        images: Images of the pipeline's output, or the frames of videos.
        flagged: Of each image whether the safety checker has blacked it out; None without a safety checker.
        pipe: The pipeline, for its dtypes.

    Raises:
        ModelError: An image that is not flagged is black or not finite.
    """
    found = cast("Sequence[object]", images)
    blacked_out = {place for place, flag in enumerate(cast("Iterable[object]", flagged or ()), start=1) if flag}
    invalid = [place for place, image in enumerate(found, start=1) if place not in blacked_out and _is_invalid(image)]
    if not invalid:
        return
    network = "transformer" if is_transformer(network_of(pipe)) else "UNet"
    dtypes = f"{network} {network_of(pipe).dtype}, VAE {pipe.vae.dtype}".replace("torch.", "")
    is_half = torch.float16 in (network_of(pipe).dtype, pipe.vae.dtype)
    advice = (
        "Load with dtype=torch.bfloat16 or torch.float32, or give the pipeline a VAE made for float16."
        if is_half
        else "These dtypes have the range of float32, so reduce scale, content_scale or guidance_scale."
    )
    raise ModelError(
        f"Image {', '.join(map(str, invalid))} of {len(found)} is black or not finite ({dtypes}): numbers "
        f"overflowed. {advice}"
    )


def _is_invalid(image: object) -> bool:
    """Latents may be anything finite; an image whose every pixel is 0 is what NaN is converted to."""
    if isinstance(image, Tensor):
        return not image.isfinite().all()
    array = np.asarray(image)
    return not np.isfinite(array).all() or not array.any()
