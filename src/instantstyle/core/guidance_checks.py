"""Warnings after a call: styles that only guidance gives an effect, and styles that were tuned in another way."""

import inspect
from collections.abc import Sequence

from ..errors import RequestWarning
from ..utils.caller_warnings import warn_caller
from .conditioning import StyleConditioning
from .protocols import Pipeline, is_transformer, network_of
from .row_layout import VIEWED, find_known_class
from .styled_network import StyledNetwork


def warn_of_guidance(pipe: Pipeline, conditionings: Sequence[StyleConditioning]) -> None:
    """Warn the caller, after a call of the pipeline, of styles that only guidance gives an effect.

    Args:
        pipe: The pipeline, which tells whether its last call had guidance; of others nothing is known.
        conditionings: The styles of the call, with their settings.
    """
    if _had_guidance(pipe):
        return
    kinds = {
        "negative_style": any(each.negative_style is not None and each.scale for each in conditionings),
        "A style with unconditional=True": any(each.unconditional and each.scale for each in conditionings),
    }
    for name, is_given in kinds.items():
        if is_given:
            warn_caller(
                f"{name} has no effect without guidance: it acts in the unconditional half of the batch. "
                f"{_advise_guidance(pipe)}",
                RequestWarning,
            )


def _had_guidance(pipe: Pipeline) -> bool:
    """Whether the last call had guidance; also True where that is not known."""
    known = find_known_class(type(pipe).__mro__)
    if known is None or known in VIEWED:
        return True
    network = network_of(pipe)
    if is_transformer(network):
        # The model's own guidance may be distilled, which has no unconditional half.
        return "unconditional" in StyledNetwork.of(network).state.seen_parts
    return getattr(pipe, "do_classifier_free_guidance", None) is not False


def _advise_guidance(pipe: Pipeline) -> str:
    if "true_cfg_scale" in inspect.signature(pipe.__call__).parameters:
        return "The model's own guidance is distilled: pass a negative_prompt and a true_cfg_scale above 1."
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
