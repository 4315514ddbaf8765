"""Warnings after a call: styles that only guidance gives an effect, and styles that were tuned in another way."""

from collections.abc import Sequence

from ..errors import RequestWarning
from ..utils.caller_warnings import warn_caller
from .conditioning import StyleConditioning
from .row_layout import VIEWED, find_known_class


def warn_of_guidance(pipe: object, conditionings: Sequence[StyleConditioning]) -> None:
    """Warn the caller, after a call of the pipeline, of styles that only guidance gives an effect.

    Args:
        pipe: The pipeline, which tells whether its last call had guidance; of others nothing is known.
        conditionings: The styles of the call, with their settings.
    """
    known = find_known_class(type(pipe).__mro__)
    if known is None or known in VIEWED or getattr(pipe, "do_classifier_free_guidance", None) is not False:
        return
    kinds = {
        "negative_style": any(each.negative_style is not None and each.scale for each in conditionings),
        "A style with unconditional=True": any(each.unconditional and each.scale for each in conditionings),
    }
    for name, is_given in kinds.items():
        if is_given:
            warn_caller(
                f"{name} has no effect without guidance: it acts in the unconditional half of the batch. Pass a "
                "guidance_scale above 1.",
                RequestWarning,
            )


def warn_of_fuse(conditionings: Sequence[StyleConditioning]) -> None:
    """Warn the caller of styles that were tuned for another way of joining them to the text's attention."""
    for each in conditionings:
        others = {style.tuned_for: style.name for style in each.styles if style.tuned_for not in (None, each.fuse)}
        for fuse, name in others.items():
            warn_caller(
                f"{name} was tuned for fuse={fuse!r}, and fuse is {each.fuse!r}; give fuse={fuse!r} (--fuse {fuse}).",
                RequestWarning,
            )
