"""The injections into one UNet, and its calls while there are any.

All styles that are injected into one UNet at a time are held together, whichever pipeline or `InstantStyle` they come
from, so that they can be removed in any order, and the UNet ends with the objects that it had.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import inspect
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn

from ..errors import StyleError
from .attention.interface import StyledProcessor
from .attention_processor import StyledAttnProcessor
from .denoising_state import DenoisingState
from .guidance_interval import GuidanceInterval, skips_unconditional
from .partial_batch import KeptRows, PartialBatch
from .pipeline_call import find_pipeline_call, unwrap_compiled
from .processor_checks import attention_layer, check_in_place, is_cross_attention
from .protocols import Network, is_transformer
from .row_layout import RowLayout
from .text_tokens import TextTokens

CALL = "_compiled_call_impl"
"""What `nn.Module` calls instead of `_call_impl` if it is set. A compiled forward lies beneath and is not compiled
again at each step, as it would be with hooks."""

_styled_networks: "WeakKeyDictionary[nn.Module, StyledNetwork]" = WeakKeyDictionary()
_styled_networks_lock = threading.Lock()


@dataclass(eq=False)
class Injection:
    """What one `with` block injects."""

    processors: Mapping[str, StyledProcessor[Any]] = field(default_factory=dict)
    interval: GuidanceInterval | None = None
    row_layout: RowLayout | None = None
    scheduler: object = None
    """The scheduler that the caller has named for a loop of their own."""
    pipe_scheduler: object = None
    """The pipeline's, for a loop without a named one; it may hold the schedule of an earlier call."""
    twins: tuple[float, int] | None = None
    """Share of the steps in which unstyled twins hold the layout, and images for each prompt; None without twins."""
    text_tokens: TextTokens | None = None
    """Tokens of references that follow those of the text; None for none."""


class StyledNetwork:
    """The injections into one UNet, and its calls while there are any. Each UNet has one: `StyledNetwork.of`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held while a pipeline generates: a UNet has one set of processors, and a pipeline one schedule."""
        self.state = DenoisingState()
        self._injections: list[Injection] = []
        self._thread: threading.Thread | None = None
        self._processors: dict[str, tuple[Any, Any]] = {}
        """The layers that have another processor, with the original one. A wrapper may rename layers meanwhile."""
        self._calls: dict[nn.Module, tuple[Any, Any]] = {}
        """By network, compiled or not: its original call, and the one in its place."""
        self._active: dict[str, StyledProcessor[Any]] = {}
        self._text_caches: dict[str, StyledAttnProcessor] = {}
        self._partial_batches: dict[int, PartialBatch] = {}

    @classmethod
    def of(cls, unet: Network) -> "StyledNetwork":
        """Return the object that holds this UNet's injections; a compiled UNet shares it with the one inside of it."""
        with _styled_networks_lock:
            return _styled_networks.setdefault(cast(nn.Module, unwrap_compiled(unet)), cls())

    @property
    def has_injections(self) -> bool:
        """Whether styles are injected now."""
        return bool(self._injections)

    def runs_compiled(self, module: nn.Module) -> bool:
        """Whether a module of the UNet, or the UNet, is compiled in place."""
        original = self._calls[module][0] if module in self._calls else vars(module).get(CALL)
        return original is not None

    def is_compiled(self, unet: Network) -> bool:
        """Whether a UNet is compiled, or a module of it is compiled in place."""
        network = cast(nn.Module, unwrap_compiled(unet))
        return network is not cast(object, unet) or any(map(self.runs_compiled, network.modules()))

    @contextmanager
    def generating(self) -> Generator[None]:
        """Let one thread generate at a time.

        Raises:
            StyleError: Another thread styles the UNet in a `using` block, whose style would act here too.
        """
        with self.lock:
            self._check_thread()
            self.state.seen_parts.clear()
            yield

    @contextmanager
    def injected(self, unet: Network, injection: Injection) -> Generator[None]:
        """Add an injection for the `with` block; in a layer that several select, the latest acts.

        Raises:
            StyleError: Another thread styles the network, or a `using` block with tokens beside the text's, whose
                weights would be lost in the layers of this injection.
        """
        with self.lock:
            self._check_thread()
            if (injection.processors or injection.text_tokens) and any(each.text_tokens for each in self._injections):
                raise StyleError(
                    "A ReduxStyle acts in a `using` block already, and a style inside of it would take the place of "
                    "its weights; give both to one call or one using: style=[redux, …]."
                )
            self._thread = threading.current_thread()
            self._intercept(cast(nn.Module, unet))
            self._injections.append(injection)
            self._install(unet)
        try:
            yield
        finally:
            with self.lock:
                self._injections.remove(injection)
                self._install(unet)
                if not self._injections:
                    self._restore_calls()

    def call(self, unet: Network, forward: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run the UNet's forward with the state of this call; outside of a guidance interval on the conditional part.

        Raises:
            ModelError: The running pipeline's batches are not known, or have other parts than a guidance interval
                can skip.
            StyleError: The step is not known, or a styled layer has got another processor.
        """
        with self.lock:
            latest = self._injections[::-1]
            declared = next((each.row_layout for each in latest if each.row_layout is not None), None)
            named, scheduler = (
                next((getattr(each, name) for each in latest if getattr(each, name) is not None), None)
                for name in ("scheduler", "pipe_scheduler")
            )
            self.state.needs_timestep = any(each.needs_timestep for each in self._active.values())
            call, is_own = find_pipeline_call(unet), named is not None
            args, kwargs = _name_arguments(unet, args, kwargs)
            self.state.begin(args, kwargs, call, named or scheduler, declared, is_own_schedule=is_own)
            try:
                for tokens in filter(None, (each.text_tokens for each in self._injections)):
                    kwargs = tokens.append(kwargs, self.state)
                skipped = [skip(latest) for skip in (self._skip_unconditional, self._skip_twins)]
                for name, processor in self._active.items():
                    check_in_place(unet, name, self._processors[name][0], processor)
                    processor.prepare_step()
                for number, rows in reversed([*enumerate(skipped)]):
                    forward = forward if rows is None else self._run_partially(number, forward, rows)
                return forward(*args, **kwargs)
            finally:
                self.state.end()

    def _skip_unconditional(self, latest: Sequence[Injection]) -> KeptRows | None:
        """Return the rows of the conditional half outside of a guidance interval; None where no rows are skipped."""
        interval = next((each.interval for each in latest if each.interval is not None), None)
        if interval is None or not skips_unconditional(interval, self.state):
            return None
        self.state.skip_unconditional()
        images = range(cast(int, self.state.rows) // (self.state.num_frames or 1))
        return KeptRows([len(images) + image for image in images], [*images] * 2)

    def _skip_twins(self, latest: Sequence[Injection]) -> KeptRows | None:
        """Pair the rows with their twins, or return the styled rows after the twins' share of the steps."""
        settings = next((each.twins for each in latest if each.twins is not None), None)
        if settings is None:
            return None
        share, per_prompt = settings
        twins = self.state.pair_twins(per_prompt)
        if self.state.progress < share:
            self.state.twins = twins
            return None
        self.state.drop_twins(twins)
        place = {row: number for number, row in enumerate(twins.styled)}
        rows = range(len(twins.source))
        return KeptRows(twins.styled, [place[row if row in place else row - per_prompt] for row in rows])

    def _run_partially(self, number: int, forward: Callable[..., Any], rows: KeptRows) -> Callable[..., Any]:
        batch = self._partial_batches.setdefault(number, PartialBatch())

        def run(*args: Any, **kwargs: Any) -> Any:
            return batch.run(forward, args, kwargs, rows)

        return run

    def _check_thread(self) -> None:
        if self._injections and self._thread is not threading.current_thread():
            name = self._thread.name if self._thread else "unknown"
            raise StyleError(
                f"The network is styled by a `using` block of another thread ({name}), whose style would act here "
                "too. Generate after that block, or call the styled pipeline with style= in each thread: such calls "
                "wait."
            )

    def _intercept(self, unet: nn.Module) -> None:
        if unet in self._calls:
            return
        original = vars(unet).get(CALL)
        forward = original or cast(Any, unet)._call_impl

        def call(*args: Any, **kwargs: Any) -> Any:
            # The call of a network inside of a compiled one is traced, and the outer call has set the state.
            if torch.compiler.is_compiling():
                return forward(*args, **kwargs)
            return self.call(cast(Network, unet), forward, args, kwargs)

        vars(unet)[CALL] = call
        self._calls[unet] = original, call

    def _restore_calls(self) -> None:
        for unet, (original, call) in self._calls.items():
            # A network that the caller has compiled within the `with` block stays compiled.
            if vars(unet).get(CALL) is call:
                del vars(unet)[CALL]
                if original is not None:
                    vars(unet)[CALL] = original
        self._calls.clear()
        self._text_caches.clear()
        self._partial_batches.clear()
        self._thread = None

    def _install(self, unet: Network) -> None:
        """Install the processors of all injections; put the original ones back where none selects a layer."""
        wanted: dict[str, StyledProcessor[Any]] = {}
        for injection in self._injections:
            wanted |= injection.processors
        self._active = dict(wanted)
        if wanted:
            for name, processor in unet.attn_processors.items():
                # A StyledAttnProcessor without styles does exactly what AttnProcessor2_0 does.
                original = self._processors[name][1] if name in self._processors else processor
                if type(original).__name__ == "AttnProcessor2_0" and is_cross_attention(unet, name):
                    wanted.setdefault(name, self._text_cache(name))
        for name in [name for name in self._processors if name not in wanted]:
            attn, original = self._processors.pop(name)
            # A processor that the caller has set within the `with` block stays.
            if isinstance(attn.processor, StyledProcessor):
                attn.set_processor(original)
        for name, processor in wanted.items():
            if name not in self._processors:
                attn = attention_layer(unet, name)
                self._processors[name] = attn, attn.processor
            attn, processor.original = self._processors[name]
            if attn.processor is not processor:
                attn.set_processor(processor)

    def _text_cache(self, name: str) -> StyledAttnProcessor:
        return self._text_caches.setdefault(name, StyledAttnProcessor([], self.state))


def _name_arguments(
    network: Network, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return the arguments of a call of a transformer by name: their order differs between transformers.

    UNets have one order, and calls of them are returned unchanged, as are those that the network itself refuses.
    """
    if not args or not is_transformer(network):
        return args, kwargs
    names = [*inspect.signature(type(unwrap_compiled(network)).forward).parameters][1:]
    named = dict(zip(names, args, strict=False))
    if len(named) < len(args) or named.keys() & kwargs.keys():
        return args, kwargs
    return (), {**named, **kwargs}
