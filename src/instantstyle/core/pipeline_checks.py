"""Checks around a call of a diffusers pipeline: its interface, its arguments and its output."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import inspect
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import JobError, ModelError, suggest_nearest
from .protocols import Pipeline, PipelineArguments


def check_pipeline(pipe: object) -> None:
    """Check that the pipeline has a UNet with named attention processors and reports whether guidance is on.

    Raises:
        ModelError: It does not.
    """
    if not hasattr(getattr(pipe, "unet", None), "attn_processors"):
        raise ModelError(f"{type(pipe).__name__} has no UNet to style; use a diffusers pipeline for SD1.5 or SDXL.")
    if not hasattr(type(pipe), "do_classifier_free_guidance"):
        raise ModelError(
            f"{type(pipe).__name__} does not report whether guidance is on; use one of diffusers' own pipelines."
        )


def check_arguments(pipe: Pipeline, names: Iterable[str], own_call: Callable[..., object]) -> None:
    """Check that the pipeline has arguments of these names.

    Args:
        pipe: The pipeline to call.
        names: Names of keyword arguments.
        own_call: The call whose argument names are suggested beside the pipeline's.

    Raises:
        JobError: The pipeline has no argument of a name.
    """
    known = _parameters(pipe.__call__)
    for name in names:
        if name not in known:
            nearest = suggest_nearest(name, [*known, *_parameters(own_call)])
            raise JobError(f"{type(pipe).__name__} has no argument {name!r}.{nearest}")


def supported_arguments(pipe: Pipeline, arguments: PipelineArguments) -> dict[str, Any]:
    """Keep the arguments that the pipeline has: image-to-image takes its size from the image, for example."""
    known = _parameters(pipe.__call__)
    return {name: value for name, value in arguments.items() if name in known}


def _parameters(call: Callable[..., object]) -> list[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, parameter in inspect.signature(call).parameters.items() if parameter.kind in named]


def num_images(prompt: str | Sequence[str] | None, per_prompt: object, arguments: PipelineArguments) -> int:
    """Count the images of a call.

    Args:
        prompt: One prompt or several; None where the caller passes `prompt_embeds`.
        per_prompt: `num_images_per_prompt`, a whole number from 1.
        arguments: The pipeline's other arguments.

    Raises:
        JobError: `per_prompt` is not a whole number from 1.
    """
    if isinstance(per_prompt, bool) or not isinstance(per_prompt, int) or per_prompt < 1:
        raise JobError(f"num_images_per_prompt is {per_prompt!r}; it must be a whole number from 1.")
    embeds = arguments.get("prompt_embeds")
    if prompt is None:
        return per_prompt * (1 if embeds is None else len(embeds))
    return per_prompt * (1 if isinstance(prompt, str) else len(prompt))


def make_generators(seed: object, arguments: PipelineArguments, count: int) -> tuple[list[int], dict[str, Any]]:
    """Make one random generator for each image.

    Generators are on the CPU, so that an image depends on neither batch nor device.

    Args:
        seed: Seed of the first image, 0 to 2⁶³ − 1; image i gets `seed + i`. None draws a new seed.
        arguments: The pipeline's other arguments.
        count: Number of images.

    Returns:
        The seeds, and `{"generator": [...]}` for the pipeline; both empty where the caller passes a generator.

    Raises:
        JobError: The seed is out of range, or there are a seed and a generator.
    """
    if arguments.get("generator") is not None:
        if seed is not None:
            raise JobError(f"seed={seed} and a generator exclude each other; give one of them.")
        return [], {}
    if seed is None:
        seed = secrets.randbelow(2**32)
    elif isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise JobError(f"seed is {seed!r}; it must be a whole number from 0 to 2⁶³ − 1, or None for a new one.")
    seeds = [seed + i for i in range(count)]
    return seeds, {"generator": [torch.Generator("cpu").manual_seed(each) for each in seeds]}


def check_output(output: object, pipe: Pipeline) -> None:
    """Check that no image is black or holds NaN, which is what an overflow of float16 ends in.

    Args:
        output: What the pipeline returned: an object with `images`, or a tuple that begins with them.
        pipe: The pipeline, for its dtypes.

    Raises:
        ModelError: An image is black or not finite.
    """
    images: Any = getattr(output, "images", output[0] if isinstance(output, tuple) else ())
    invalid = [place for place, image in enumerate(images, start=1) if _is_invalid(image)]
    if not invalid:
        return
    dtypes = f"UNet {pipe.unet.dtype}, VAE {pipe.vae.dtype}".replace("torch.", "")
    raise ModelError(
        f"Image {', '.join(map(str, invalid))} of {len(images)} is black or not finite ({dtypes}): numbers "
        "overflowed. Load with dtype=torch.bfloat16 or torch.float32, or give the pipeline a VAE made for float16."
    )


def _is_invalid(image: object) -> bool:
    """Latents may be anything finite; an image whose every pixel is 0 is what NaN is converted to."""
    if isinstance(image, Tensor):
        return not image.isfinite().all()
    array = np.asarray(image)
    return not np.isfinite(array).all() or not array.any()
