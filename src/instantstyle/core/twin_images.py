"""Unstyled twins beside the images of a call, which hold the layout in the first steps (StyleStudio, 2412.08503)."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch

from ..errors import JobError
from ..utils.numbers import is_finite_number
from ..utils.text import shorten
from .attention.twin import TwinQueryKey
from .injection import inject_attention_processors
from .protocols import Pipeline, PipelineArguments, network_of
from .row_layout import RowLayout


def check_hold_layout(
    share: object,
    styles: object,
    shared: object,
    arguments: PipelineArguments,
    prompts: int,
    *,
    several: bool,
) -> float:
    """Check the share of the steps in which unstyled twins hold the layout.

    Args:
        share: The share, 0..1.
        styles: The styles of the call; None for none.
        shared: Its `SharedAttention`; None for none.
        arguments: Arguments of the pipeline.
        prompts: Number of prompts.
        several: Whether the pipeline generates several images of a prompt.

    Returns:
        The share.

    Raises:
        JobError: It is out of range, there is no style, or the pipeline's rows cannot be paired.
    """
    if not is_finite_number(share) or not 0 <= cast(float, share) <= 1:
        raise JobError(f"hold_layout is {shorten(share)}; it is a share of the steps, from 0 for none to 1 for all.")
    if not share:
        return 0.0
    if shared is not None:
        raise JobError("hold_layout and SharedAttention both change self-attention; use one of them.")
    if not several:
        raise JobError(
            "hold_layout generates a twin beside each image, and this pipeline generates one image or video of a "
            "prompt; leave it out."
        )
    if styles is None:
        raise JobError("hold_layout keeps the layout that an image has without its style, and there is no style.")
    if arguments.get("latents") is not None:
        raise JobError("hold_layout needs the same noise for an image and its twin; give seed= instead of latents.")
    if arguments.get("generator") is not None and not isinstance(arguments["generator"], list | tuple):
        raise JobError("hold_layout needs a generator for each image; give seed=, or a list of generators.")
    image = arguments.get("image")
    if prompts > 1 and isinstance(image, list | tuple | torch.Tensor) and len(image) > 1:
        raise JobError("hold_layout takes one image= for all prompts; generate the images in several calls.")
    return float(cast(float, share))


def pair_generators(
    per_prompt: int, generators: Mapping[str, Any], arguments: PipelineArguments
) -> tuple[dict[str, Any], PipelineArguments]:
    """Give each image's twin a generator in the same state, after the images of each prompt.

    Args:
        per_prompt: Images for each prompt, without twins.
        generators: `{"generator": [...]}`, or nothing where the caller passes generators.
        arguments: Arguments of the pipeline, perhaps with generators.

    Returns:
        Both, with twice as many generators where there are any.
    """

    def pair(arguments: Mapping[str, Any]) -> dict[str, Any]:
        own = arguments.get("generator")
        return {**arguments} if own is None else {**arguments, "generator": _add_twins(own, per_prompt)}

    return pair(generators), pair(arguments)


def _add_twins(generators: Sequence[torch.Generator], per_prompt: int) -> list[torch.Generator]:
    paired: list[torch.Generator] = []
    for start in range(0, len(generators), per_prompt):
        own = list(generators[start : start + per_prompt])
        paired += [*own, *(each.clone_state() for each in own)]
    return paired


def inject_twins(
    pipe: Pipeline, share: float, per_prompt: int, row_layout: RowLayout | None
) -> AbstractContextManager[None]:
    """Let the styled rows of each batch use queries and keys of their twins inside the `with` block.

    Args:
        pipe: The pipeline, which is called with twice the number of images for each prompt.
        share: The share of the steps, 0..1; 0 changes nothing.
        per_prompt: Images for each prompt, without twins.
        row_layout: Parts of a batch where no known pipeline is running.
    """
    if not share:
        return nullcontext()
    names = [name for name in network_of(pipe).attn_processors if name.endswith("attn1.processor")]
    layers = {name: (TwinQueryKey(),) for name in names if "motion_modules" not in name}
    return inject_attention_processors(
        network_of(pipe), layers, row_layout=row_layout, pipe_scheduler=pipe.scheduler, twins=(share, per_prompt)
    )
