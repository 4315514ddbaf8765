"""Guidance within an interval of the schedule (arXiv 2404.07724); outside of it, half of the computation.

Outside of the interval the UNet runs on the conditional half of the batch only, and its output is repeated for
both halves: u + g · (t − u) with u = t is t, so that the pipeline's own guidance changes nothing. The paper defines
the interval by noise levels; here it is defined by shares of the steps, as `start` and `end` of a style are.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import JobError, ModelError
from .denoising_state import DenoisingState
from .protocols import Pipeline

GuidanceInterval = tuple[float, float]
"""Shares of the steps, 0 ≤ start ≤ end ≤ 1."""

SCALE = "_guidance_scale"
"""Attribute in which diffusers' pipelines keep the scale behind `do_classifier_free_guidance`."""

CALL = "_compiled_call_impl"
"""What `nn.Module` calls instead of `_call_impl` if it is set. A compiled forward lies beneath and is not compiled
again at each step, as it would be with hooks."""

TEXT = "encoder_hidden_states"

OTHER_SCALES = ("image_guidance_scale", "pag_scale")
"""Arguments of pipelines whose batches have more than two parts."""


def limit_guidance(pipe: Pipeline, interval: object) -> AbstractContextManager[None]:
    """Apply the pipeline's guidance only within the interval inside the `with` block.

    Args:
        pipe: A pipeline with classifier-free guidance as diffusers' UNet pipelines implement it.
        interval: A `GuidanceInterval`, first and last share of the steps with guidance; (0, 1) changes nothing.

    Raises:
        JobError: `interval` is not a pair of shares in order.
        ModelError: The pipeline has another kind of guidance.
    """
    validated = _validated(interval)
    if validated == (0, 1):
        return nullcontext()
    _check_guidance(pipe)
    return _limited(pipe, validated)


@contextmanager
def _limited(pipe: Pipeline, interval: GuidanceInterval) -> Generator[None]:
    attributes = vars(pipe.unet)
    original = attributes.get(CALL)
    call = original or cast(Any, pipe.unet)._call_impl
    attributes[CALL] = ConditionalOnlyForward(pipe, interval, call)
    try:
        yield
    finally:
        del attributes[CALL]
        if original is not None:
            attributes[CALL] = original


class ConditionalOnlyForward:
    """Calls the UNet; outside of the interval on the conditional half of the batch only."""

    def __init__(self, pipe: Pipeline, interval: GuidanceInterval, call: Callable[..., Any]) -> None:
        self._pipe, self._interval, self._call = pipe, interval, call
        self._state = DenoisingState(pipe)
        self._text: tuple[Tensor, Tensor] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._state.record_call(args, kwargs)
        start, end = self._interval
        if not self._state.is_guided or start <= self._state.progress < end:
            return self._call(*args, **kwargs)
        batch = len(args[0] if args else kwargs["sample"])

        def conditional(tensor: Tensor) -> Tensor:
            # diffusers puts the conditional half second.
            return tensor[batch // 2 :] if tensor.ndim and len(tensor) == batch else tensor

        halved = {name: _map_tensors(value, conditional) for name, value in kwargs.items() if name != TEXT}
        if TEXT in kwargs:
            # Returns the identical tensor for identical text: the text's K/V cache is keyed by identity.
            if self._text is None or self._text[0] is not kwargs[TEXT]:
                self._text = kwargs[TEXT], _map_tensors(kwargs[TEXT], conditional)
            halved[TEXT] = self._text[1]
        with _unguided(self._pipe):
            output = self._call(*_map_tensors(args, conditional), **halved)
        return _map_tensors(output, lambda tensor: torch.cat([tensor, tensor]))


@contextmanager
def _unguided(pipe: Pipeline) -> Generator[None]:
    """Set the guidance scale to 1, so that styled layers see a batch without an unconditional half."""
    scale = getattr(pipe, SCALE)
    setattr(pipe, SCALE, 1.0)
    try:
        yield
    finally:
        setattr(pipe, SCALE, scale)


def _map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply `change` to every tensor in nested mappings, lists and tuples."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        # A diffusers output is a mapping too, and keeps its type.
        return type(value)(**{name: _map_tensors(part, change) for name, part in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_map_tensors(part, change) for part in value)
    return value


def _validated(interval: object) -> GuidanceInterval:
    if isinstance(interval, list | tuple) and len(interval) == 2:
        start, end = cast("Sequence[object]", interval)
        if isinstance(start, int | float) and isinstance(end, int | float) and 0 <= start <= end <= 1:
            return start, end
    raise JobError(
        f"guidance_interval is {interval!r}; it is two shares of the steps, 0 ≤ start ≤ end ≤ 1, such as (0.2, 0.8)."
    )


def _check_guidance(pipe: Pipeline) -> None:
    other = [name for name in OTHER_SCALES if name in inspect.signature(pipe.__call__).parameters]
    if other:
        raise ModelError(
            f"{type(pipe).__name__} has the argument {other[0]}, and its batches have more than two parts; "
            "guidance_interval can only skip the unconditional half of two. Leave it out here."
        )
    if not hasattr(type(pipe), "guidance_scale"):
        raise ModelError(
            f"{type(pipe).__name__} does not keep its guidance scale as diffusers' UNet pipelines do; "
            "guidance_interval needs one that does."
        )
