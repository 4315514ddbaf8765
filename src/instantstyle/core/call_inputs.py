"""What a call gives the pipeline beside the caller's arguments: prompts, numbers of images, and generators."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from ..errors import JobError, StyleError
from ..utils.numbers import is_whole_number
from ..utils.text import shorten
from .conditioning import StyleConditioning
from .pipeline_checks import check_texts, list_parameters, one_generator_error, takes_any_name, uses_free_noise
from .protocols import Pipeline, PipelineArguments
from .style import Style


def takes_several_images(pipe: Pipeline) -> bool:
    """Whether a pipeline generates several images of a prompt; those for videos and some editors do not."""
    return "num_images_per_prompt" in list_parameters(pipe.__call__) or takes_any_name(pipe.__call__)


def call_inputs(
    pipe: Pipeline, prompt: str | Sequence[str] | None, per_prompt: int, generators: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call beside the caller's own, without those that the pipeline has not.

    Args:
        pipe: The pipeline to call.
        prompt: One prompt or several; None for none.
        per_prompt: Images for each prompt.
        generators: `{"generator": [...]}`, or nothing where the caller passes a generator.

    Raises:
        JobError: The pipeline takes no prompt, or one image only.
    """
    if uses_free_noise(pipe):
        prompts = [prompt] if prompt is None or isinstance(prompt, str) else prompt
        if len(prompts) * per_prompt > 1:
            raise one_generator_error(pipe)
        # Equal to a list of this one generator, which torch.randperm does not take.
        prompt, generators = prompts[0], {name: each[0] for name, each in generators.items()}
    inputs = {"prompt": prompt, "num_images_per_prompt": per_prompt, **generators}
    if takes_any_name(pipe.__call__):
        return inputs
    known = list_parameters(pipe.__call__)
    missing = [name for name in inputs if name not in known]
    if prompt is not None and "prompt" in missing:
        raise JobError(f"{type(pipe).__name__} takes no prompt; leave it out.")
    if per_prompt > 1 and "num_images_per_prompt" in missing and "num_videos_per_prompt" not in known:
        raise JobError(f"{type(pipe).__name__} generates one image for each prompt; leave num_images_per_prompt out.")
    if "num_videos_per_prompt" in known:
        if per_prompt > 1:
            # diffusers' pipelines for videos set the number to 1 (0.42).
            raise JobError(
                f"{type(pipe).__name__} generates one video for each prompt; leave num_images_per_prompt out, or give "
                "the prompt several times: prompt=[…, …]."
            )
        inputs["num_videos_per_prompt"] = inputs.pop("num_images_per_prompt")
    return {name: value for name, value in inputs.items() if name in known}


def check_one_style_each(styles: object, prompts: int) -> None:
    """Check that each prompt has its style, where there are several.

    Args:
        styles: A style, one for each prompt, or conditionings; None for none.
        prompts: Number of prompts.

    Raises:
        StyleError: The numbers differ.
    """
    if styles is None or isinstance(styles, Style):
        return
    entries = cast("Sequence[Style | StyleConditioning]", styles)
    groups = [each.styles for each in entries if isinstance(each, StyleConditioning)] or [entries]
    for count in map(len, groups):
        if count not in (1, prompts):
            raise StyleError(
                f"{prompts} prompt{'s' * (prompts > 1)} and {count} styles: give one style for each prompt, or one "
                "for all; to mix styles, use Style.mix, or StyleConditioning to add them up."
            )


def num_images(
    prompt: str | Sequence[str] | None, per_prompt: object, arguments: PipelineArguments
) -> tuple[int, int]:
    """Count the images of a call.

    Args:
        prompt: One prompt or several; None where the caller passes `prompt_embeds`.
        per_prompt: `num_images_per_prompt`, a whole number from 1.
        arguments: The pipeline's other arguments.

    Returns:
        Number of prompts, and of images for each.

    Raises:
        JobError: `prompt` is neither valid text nor a list of texts, `per_prompt` is not a whole number from 1, or
            several videos of a prompt are asked for.
    """
    if not is_whole_number(per_prompt, at_least=1):
        raise JobError(f"num_images_per_prompt is {shorten(per_prompt)}; it must be a whole number from 1.")
    images = int(cast(int, per_prompt))
    if (videos := arguments.get("num_videos_per_prompt")) not in (None, 1):
        # diffusers' pipelines for videos set the number to 1 (0.42).
        raise JobError(
            f"num_videos_per_prompt={shorten(videos)} has no effect in diffusers, whose pipelines generate one video "
            "for each prompt; leave it out, or give the prompt several times: prompt=[…, …]."
        )
    if prompt is None:
        embeds = arguments.get("prompt_embeds")
        return 1 if embeds is None else len(embeds), images
    if isinstance(prompt, Mapping):
        raise JobError(
            "prompt maps frames to words (FreeNoise), and a recipe holds one prompt for all frames: generate in a "
            "using block, with styled.using(…) as pipe: pipe({0: …})."
        )
    texts = cast(object, [prompt] if isinstance(prompt, str) else prompt)
    if not isinstance(texts, list | tuple) or not texts or not all(isinstance(text, str) for text in texts):
        raise JobError(f"prompt is {shorten(prompt)}; it is words, or a list of these.")
    check_texts({"prompt": prompt})
    return len(texts), images


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
            raise JobError(f"seed={shorten(seed)} and a generator exclude each other; give one of them.")
        return [], {}
    if seed is None:
        seed = secrets.randbelow(2**32)
    elif not is_whole_number(seed, at_least=0) or (seed := int(cast(int, seed))) >= 2**63:
        raise JobError(f"seed is {shorten(seed)}; it must be a whole number from 0 to 2⁶³ − 1, or None for a new one.")
    if seed + count > 2**63:
        raise JobError(f"seed {seed} and {count} images need seeds up to {seed + count - 1}; the largest is 2⁶³ − 1.")
    seeds = [seed + i for i in range(count)]
    return seeds, {"generator": [torch.Generator("cpu").manual_seed(each) for each in seeds]}
