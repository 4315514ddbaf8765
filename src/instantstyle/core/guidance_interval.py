"""Guidance within an interval of the schedule (arXiv 2404.07724); outside of it, half of the computation.

Outside of the interval the UNet runs on the conditional part of the batch only, and its output is repeated for
both parts: u + g · (t − u) with u = t is t, so that the pipeline's own guidance changes nothing. The paper defines
the interval by noise levels; here it is defined by shares of the steps, as `start` and `end` of a style are.
"""

# pyright: reportUnknownArgumentType=false

from collections.abc import Sequence

from ..errors import JobError, ModelError
from ..utils.numbers import read_numbers
from ..utils.text import shorten
from .denoising_state import DenoisingState
from .protocols import find_network, is_transformer
from .row_layout import GUIDED, RowLayout, find_known_class, unknown_pipeline_error, uses_two_parts

GuidanceInterval = tuple[float, float]
"""Shares of the steps, 0 ≤ start ≤ end ≤ 1."""


def skips_unconditional(interval: GuidanceInterval, state: DenoisingState) -> bool:
    """Tell whether this step lies outside of the interval, and the batch has an unconditional part to skip.

    Raises:
        ModelError: The batch has other parts than an unconditional and a conditional one.
        StyleError: The step is not known.
    """
    if "unconditional" not in state.parts:
        return False
    if state.parts != GUIDED:
        raise _other_parts_error("This batch", state.parts)
    start, end = interval
    return not start <= state.progress < end


def validate_interval(pipe: object, interval: object, declared: RowLayout | None = None) -> GuidanceInterval | None:
    """Check an interval, and that the pipeline's batches have an unconditional part to skip.

    Args:
        pipe: The pipeline.
        interval: First and last share of the steps with guidance.
        declared: Parts of the batches of a pipeline that is not known.

    Returns:
        The interval; None for (0, 1), which changes nothing.

    Raises:
        JobError: `interval` is not a pair of shares in order.
        ModelError: The pipeline's batches are not known, or have other parts, or its network is a transformer.
    """
    numbers = read_numbers(interval) if isinstance(interval, Sequence) or hasattr(interval, "tolist") else None
    if numbers is None or len(numbers) != 2:
        raise _interval_error(interval)
    start, end = numbers
    if not 0 <= start <= end <= 1:
        raise _interval_error(interval)
    if (start, end) == (0, 1):
        return None
    if is_transformer(find_network(pipe)):
        raise ModelError(
            f"guidance_interval is for UNets, and {type(pipe).__name__} has a diffusion transformer; leave it out."
        )
    name = find_known_class(type(pipe).__mro__)
    if name is None and declared is None:
        raise unknown_pipeline_error(type(pipe).__name__)
    if name is not None and not uses_two_parts(name):
        raise _other_parts_error(type(pipe).__name__)
    return start, end


def _interval_error(interval: object) -> JobError:
    return JobError(
        f"guidance_interval is {shorten(interval)}; it is two shares of the steps, 0 ≤ start ≤ end ≤ 1, such as "
        "(0.2, 0.8)."
    )


def _other_parts_error(name: str, layout: RowLayout = ()) -> ModelError:
    parts = f" ({', '.join(layout)})" if layout else ""
    return ModelError(
        f"{name} has other parts than an unconditional and a conditional one{parts}; guidance_interval can only skip "
        "the unconditional part of two. Leave it out here."
    )
