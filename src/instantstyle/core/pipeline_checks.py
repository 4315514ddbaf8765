"""A call of a diffusers pipeline: what it must offer, what may be asked of it, and what came out."""

import inspect
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import JobError, ModelError, did_you_mean


def check_pipeline(pipe: Any) -> None:
    """What we lean on: a UNet with named processors, and a pipeline that tells whether guidance is on."""
    if not hasattr(getattr(pipe, "unet", None), "attn_processors"):
        raise ModelError(
            f"{type(pipe).__name__} has no UNet to style; use a diffusers pipeline for SD1.5 or SDXL."
        )
    if not hasattr(type(pipe), "do_classifier_free_guidance"):
        raise ModelError(
            f"{type(pipe).__name__} does not tell whether guidance is on; use one of diffusers' own."
        )


def check_arguments(pipe: Any, given: Iterable[str], ours: Callable[..., Any]) -> None:
    """One that the pipeline does not have is an error; `ours` is the call whose words are legal beside."""
    known = _parameters(pipe.__call__)
    for name in given:
        if name not in known:
            nearest = did_you_mean(name, [*known, *_parameters(ours)])
            raise JobError(f"{type(pipe).__name__} has no argument {name!r}.{nearest}")


def supported_arguments(pipe: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments that the pipeline has: image-to-image takes its size from the picture."""
    known = _parameters(pipe.__call__)
    return {name: value for name, value in arguments.items() if name in known}


def _parameters(call: Callable[..., Any]) -> list[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, parameter in inspect.signature(call).parameters.items() if parameter.kind in named]


def num_images(prompt: str | Sequence[str] | None, each: Any, arguments: Mapping[str, Any]) -> int:
    """`each` for every prompt; a caller may hand over their embeddings instead."""
    if isinstance(each, bool) or not isinstance(each, int) or each < 1:
        raise JobError(f"num_images_per_prompt is {each!r}; it must be a whole number from 1.")
    embeds = arguments.get("prompt_embeds")
    if prompt is None:
        return each * (1 if embeds is None else len(embeds))
    return each * (1 if isinstance(prompt, str) else len(prompt))


def make_generators(seed: int | None, arguments: Mapping[str, Any], count: int) -> dict[str, Any]:
    """One for each picture, on the CPU, so that a picture depends on neither batch nor device."""
    if arguments.get("generator") is not None:
        if seed is not None:
            raise JobError(f"seed={seed} and a generator exclude each other; give one of them.")
        return {}
    first = secrets.randbelow(2**32) if seed is None else _checked_seed(seed)
    return {"generator": [torch.Generator("cpu").manual_seed(first + i) for i in range(count)]}


def _checked_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise JobError(
            f"seed is {seed!r}; it must be a whole number from 0 to 2⁶³ − 1, or None for a new one."
        )
    return seed


def check_output(out: Any, pipe: Any) -> None:
    """`ModelError` where a picture is black or holds NaN: what an overflow of float16 ends in."""
    drawn: Any = getattr(out, "images", out[0] if isinstance(out, tuple) else ())
    spoilt = [place for place, picture in enumerate(drawn) if _is_spoilt(picture)]
    if not spoilt:
        return
    which = ", ".join(str(place + 1) for place in spoilt)
    dtypes = f"UNet {pipe.unet.dtype}, VAE {pipe.vae.dtype}".replace("torch.", "")
    raise ModelError(
        f"Picture {which} of {len(drawn)} came out black or without numbers ({dtypes}): numbers overflowed. "
        "Load with dtype=torch.bfloat16 or torch.float32, or give the pipeline a VAE made for float16."
    )


def _is_spoilt(picture: Any) -> bool:
    """Latents may rightly be anything finite; a picture whose every pixel is 0 is what NaN is saved as."""
    if isinstance(picture, Tensor):
        return not picture.isfinite().all()
    array = np.asarray(picture)
    return not np.isfinite(array).all() or not array.any()
