"""Warnings after a call: styles that only guidance gives an effect, and styles that were tuned in another way."""

import inspect
from collections.abc import Sequence
from typing import cast

from ..errors import RequestWarning
from ..utils.caller_warnings import warn_caller
from .conditioning import StyleConditioning
from .guidance_interval import GuidanceInterval
from .protocols import Pipeline, PipelineArguments, is_transformer, network_of
from .row_layout import VIEWED, find_known_class
from .styled_network import StyledNetwork


def warn_of_guidance(
    pipe: Pipeline,
    conditionings: Sequence[StyleConditioning],
    arguments: PipelineArguments,
    guidance_interval: GuidanceInterval | None = None,
) -> None:
    """Warn the caller, after a call of the pipeline, of styles and arguments that only guidance gives an effect.

    Args:
        pipe: The pipeline, which tells whether its last call had guidance; of others nothing is known.
        conditionings: The styles of the call, with their settings.
        arguments: The arguments that the pipeline was called with.
        guidance_interval: Shares of the steps with guidance; None for all.
    """
    if not _is_distilled(pipe) and cast(float, arguments.get("true_cfg_scale", 0)) > 1:
        name = type(pipe).__name__
        warn_caller(f"true_cfg_scale has no effect in {name}; its guidance is guidance_scale.", RequestWarning)
    if _had_guidance(pipe, arguments):
        return
    half = "it acts in the unconditional half of the batch"
    kinds = {
        "negative_style": any(each.negative_style is not None and each.scale for each in conditionings),
        "A style with unconditional=True": any(each.unconditional and each.scale for each in conditionings),
        "negative_prompt": _has_words(arguments.get("negative_prompt")),
        "guidance_interval": guidance_interval is not None and tuple(guidance_interval) != (0, 1),
    }
    for name, is_given in kinds.items():
        if is_given:
            warn_caller(f"{name} has no effect without guidance: {half}. {_advise_guidance(pipe)}", RequestWarning)
    if _is_distilled(pipe) and _true_scale(pipe, arguments) > 1:
        warn_caller(
            "true_cfg_scale has no effect without a negative prompt; pass one, which may be empty: "
            "negative_prompt=''.",
            RequestWarning,
        )


def _had_guidance(pipe: Pipeline, arguments: PipelineArguments) -> bool:
    """Whether the last call had guidance; also True where that is not known."""
    known = find_known_class(type(pipe).__mro__)
    if known is None or known in VIEWED:
        return True
    network = network_of(pipe)
    if is_transformer(network) and (parts := StyledNetwork.of(network).state.seen_parts):
        # The model's own guidance may be distilled, which has no unconditional half.
        return "unconditional" in parts
    if _is_distilled(pipe):
        # Without a style, no parts were seen.
        negatives = (arguments.get(name) for name in ("negative_prompt", "negative_prompt_embeds"))
        return _true_scale(pipe, arguments) > 1 and any(each is not None for each in negatives)
    return getattr(pipe, "do_classifier_free_guidance", None) is not False


def _is_distilled(pipe: Pipeline) -> bool:
    """Whether guidance with an unconditional half has a scale of its own beside the model's `guidance_scale`.

    Pipelines with the property decide by it: diffusers' `ChromaInpaintPipeline` takes a `true_cfg_scale` and does not
    read it.
    """
    takes_scale = "true_cfg_scale" in inspect.signature(pipe.__call__).parameters
    return takes_scale and not hasattr(pipe, "do_classifier_free_guidance")


def _true_scale(pipe: Pipeline, arguments: PipelineArguments) -> float:
    default = inspect.signature(pipe.__call__).parameters["true_cfg_scale"].default
    return float(arguments.get("true_cfg_scale", default))


def _has_words(prompt: object) -> bool:
    """Whether a prompt, or one of a list, is not empty."""
    return any(cast("Sequence[object]", prompt)) if isinstance(prompt, list | tuple) else bool(prompt)


def _advise_guidance(pipe: Pipeline) -> str:
    if _is_distilled(pipe):
        return (
            "The model's own guidance is distilled: pass a negative_prompt and a true_cfg_scale above 1 "
            "(--true-guidance 3)."
        )
    return "Pass a guidance_scale above 1."


def warn_of_fuse(conditionings: Sequence[StyleConditioning]) -> None:
    """Warn the caller of styles that were tuned for another way of joining them to the text's attention."""
    for each in conditionings:
        others = {style.tuned_for: style.name for style in each.styles if style.tuned_for not in (None, each.fuse)}
        for fuse, name in others.items():
            warn_caller(
                f"{name} was tuned for fuse={fuse!r}, and fuse is {each.fuse!r}; give fuse={fuse!r} (--fuse {fuse}).",
                RequestWarning,
            )
