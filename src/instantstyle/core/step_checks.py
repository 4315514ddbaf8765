"""Hints on styles, held layouts, guidance and colour transfers that act at none of the steps of a call."""

from collections.abc import Sequence
from typing import Any

from ..errors import StepWarning
from ..utils.caller_warnings import warn_caller
from .call_styles import CallStyles
from .conditioning import StyleConditioning
from .guidance_interval import GuidanceInterval
from .latent_colours import LatentColours


def warn_of_steps(
    pipe: Any,
    conditionings: Sequence[StyleConditioning],
    given: CallStyles,
    guidance_interval: GuidanceInterval | None,
    colours: LatentColours | None,
    hold_layout: float,
) -> None:
    """Warn the caller, after a call of the pipeline, of intervals without a step of that call, by `StepWarning`.

    Args:
        pipe: The pipeline, which counts the steps that it has drawn; of others nothing is known.
        conditionings: The styles of the call that act through adapters, with their settings.
        given: The others, by kind.
        guidance_interval: First and last share of the steps with guidance; None for all.
        colours: The colour transfer; None for none.
        hold_layout: Share of the steps in which unstyled twins held the layout.
    """
    steps = getattr(pipe, "num_timesteps", None)
    if not isinstance(steps, int) or steps < 1:
        return
    # A list, because several conditionings may have the same style.
    acting = [(each.styles[0].label, each.start, each.end) for each in conditionings if each.scale]
    acting += [(each.label, each.start, each.end) for each in given.loras if each.scale]
    acting += [("A reference of FLUX.1 Redux", each.start, each.end) for each in given.redux if each.scale]
    guidance = [] if guidance_interval is None else [("Guidance", guidance_interval[0], guidance_interval[1])]
    hints = [describe_interval(name, start, end, steps) for name, start, end in acting + guidance]
    if colours is not None and colours.guidance and colours.start == colours.end:
        hints.append(describe_interval("The colour transfer", colours.start, colours.end, steps))
    hints.append(_describe_held(hold_layout, [(start, end) for _, start, end in acting], steps))
    for hint in dict.fromkeys(filter(None, hints)):
        warn_caller(hint, StepWarning)


def describe_interval(name: str, start: float, end: float, steps: int) -> str | None:
    """Say that an interval holds no step, of which step i of n has the share i/n.

    Args:
        name: What acts in the interval.
        start: First share of the steps.
        end: The share before which it ends.
        steps: Number of steps, n.

    Returns:
        One line, or None where it holds a step. 1 stands for the end of the last step.
    """
    if any(start <= step / steps < end for step in range(steps)):
        return None
    return (
        f"{name} acts at none of the {steps} steps: step i of n has the share i/n, from 0, and none is in "
        f"[{start:g}, {end:g}). Begin earlier, end later, or take more steps."
    )


def _describe_held(share: float, styles: Sequence[tuple[float, float]], steps: int) -> str | None:
    """Say that all steps with a held layout come before those of the styles, where the twins are the images.

    Args:
        share: Share of the steps in which the layout is held; 0 for none.
        styles: First and last share of the steps of each style.
        steps: Number of steps.

    Returns:
        One line, or None where a style acts at a step with a held layout, or at none at all.
    """
    acting = [step / steps for step in range(steps) if any(start <= step / steps < end for start, end in styles)]
    if not share or not acting or acting[0] < share:
        return None
    return (
        f"hold_layout {share:g} has no effect: the layout is held before {share:g} of the steps, and the first step "
        f"with a style is at {acting[0]:g}. Begin the style earlier, hold the layout longer, or leave hold_layout out."
    )
