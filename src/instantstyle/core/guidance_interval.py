"""Guidance between two points of the schedule only (arXiv 2404.07724); elsewhere half the work.

Outside of the interval the network is given the prompt's half of a batch alone, and its answer is handed back
twice: u + g · (t − u) with u = t is t, so that the pipeline's own guidance then changes nothing. The paper
tells an interval by noise levels; we do by shares of the steps, as `start` and `end` of a style are told.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..errors import JobError, ModelError
from .denoising_state import DenoisingState

GuidanceInterval = tuple[float, float]
"""Shares of the steps, 0 ≤ start ≤ end ≤ 1."""

SCALE = "_guidance_scale"
"""Where diffusers' pipelines keep what `do_classifier_free_guidance` is asked of at every step."""

CALL = "_compiled_call_impl"
"""What torch's modules call in place of their own `_call_impl` if it is there: whatever is compiled lies
beneath, and is not compiled anew at each step, as it would be by hooks."""

WORDS = "encoder_hidden_states"

THIRDS = ("image_guidance_scale", "pag_scale")
"""Arguments of pipelines whose batches have more than two parts."""


def limit_guidance(pipe: Any, interval: Any) -> AbstractContextManager[None]:
    """Inside the `with` block the pipeline's guidance acts within the `Interval` only; None: throughout.

    `JobError` for what is no interval, `ModelError` for a pipeline that guides in another way.
    """
    if interval is None:
        return nullcontext()
    start, end = _checked(interval)
    if (start, end) == (0, 1):
        return nullcontext()
    _check_guidance(pipe)
    return _standing_before(pipe, (start, end))


@contextmanager
def _standing_before(pipe: Any, interval: GuidanceInterval) -> Iterator[None]:
    network = vars(pipe.unet)
    found = network.get(CALL)
    network[CALL] = ConditionalOnlyForward(pipe, interval, found or pipe.unet._call_impl)
    try:
        yield
    finally:
        del network[CALL]
        if found is not None:
            network[CALL] = found


class ConditionalOnlyForward:
    """The network's call, which outside of the interval sees the prompt's half and nothing else."""

    def __init__(self, pipe: Any, interval: GuidanceInterval, call: Callable[..., Any]) -> None:
        self._pipe, self._interval, self._call = pipe, interval, call
        self._moment = DenoisingState(pipe)
        self._words: tuple[Any, Any] = None, None

    def __call__(self, *given: Any, **named: Any) -> Any:
        self._moment.record_call(given, named)
        start, end = self._interval
        if not self._moment.is_guided or start <= self._moment.progress < end:
            return self._call(*given, **named)
        half = partial(_half, len(given[0] if given else named["sample"]))
        halved = {
            name: self._same(part, half) if name == WORDS else half(part) for name, part in named.items()
        }
        with _unguided(self._pipe):
            answer = self._call(*half(given), **halved)
        return _each(answer, lambda tensor: torch.cat([tensor, tensor]))

    def _same(self, words: Any, half: Callable[[Any], Any]) -> Any:
        """Of the same words the very same half: layers know the text's keys and values by it."""
        if self._words[0] is not words:
            self._words = words, half(words)
        return self._words[1]


def _half(batch: int, told: Any) -> Any:
    """Of all tensors that are as long as the batch the second half: there diffusers puts the prompts."""

    def second(tensor: Tensor) -> Tensor:
        return tensor[batch // 2 :] if tensor.ndim and len(tensor) == batch else tensor

    return _each(told, second)


@contextmanager
def _unguided(pipe: Any) -> Iterator[None]:
    """Inside the `with` block the pipeline tells styled layers that its batch has one half."""
    scale = getattr(pipe, SCALE)
    setattr(pipe, SCALE, 1.0)
    try:
        yield
    finally:
        setattr(pipe, SCALE, scale)


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same value with its tensors changed, however they are nested."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        # A diffusers output is a mapping too, and stays one.
        return type(value)(**{name: _each(part, change) for name, part in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_each(part, change) for part in value)
    return value


def _checked(interval: Any) -> GuidanceInterval:
    pair = isinstance(interval, list | tuple) and len(interval) == 2
    if not pair or not all(isinstance(share, int | float) for share in interval):
        raise JobError(f"guidance_interval is {interval!r}; {_LEGAL}")
    start, end = interval
    if not 0 <= start <= end <= 1:
        raise JobError(f"guidance_interval is {interval!r}; {_LEGAL}")
    return start, end


_LEGAL = "it is two shares of the steps, 0 ≤ start ≤ end ≤ 1, such as (0.2, 0.8)."


def _check_guidance(pipe: Any) -> None:
    thirds = [name for name in THIRDS if name in inspect.signature(pipe.__call__).parameters]
    if thirds:
        raise ModelError(
            f"{type(pipe).__name__} guides by {thirds[0]} as well, and its batches have more than two parts; "
            "guidance_interval can only leave out the unconditional half. Leave it out here."
        )
    if not hasattr(type(pipe), "guidance_scale"):
        raise ModelError(
            f"{type(pipe).__name__} does not keep its guidance scale as diffusers' UNet pipelines do; "
            "guidance_interval needs one that does."
        )
