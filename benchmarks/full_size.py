"""Does styling by us equal diffusers' own IP-Adapter path on SDXL's true shape, and what does it cost?

    python -m benchmarks.full_size -o full_size.json    # in float32 the network alone takes 10.3 GB
    python -m benchmarks.full_size --tiny               # every width a sixteenth, in seconds

One guided step of the network is taken plain, styled by us and styled by diffusers. What is timed is a step
within a call, as all but its first are: one goes before, uncounted. Weights are random: neither equality nor
cost depends on what they have learnt. JSON goes to the screen and to `-o`; the exit code is 1 where the two
paths differ.
"""

import argparse
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch
from diffusers.loaders import IPAdapterMixin
from diffusers.utils import is_accelerate_available
from torch import Tensor, nn

from benchmarks.rounds import parser, positive, ratio, report, taken
from benchmarks.sdxl import (
    ADAPTER,
    SDXL_UNET,
    TINY_UNET,
    embedding_dim,
    filled,
    inputs_of,
    sketched,
    style_in,
    write_adapter,
)
from instantstyle import Style, StyleConditioning
from instantstyle.core.denoising_state import DenoisingState
from instantstyle.core.ip_adapter import (
    IPAdapter,
    cross_attention_layers,
    inject_attention_processors,
    merge_bound_styles,
)
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

SCALES = {"style": {"up": {"block_0": [0.0, 1.0, 0.0]}}, "all": 1.0}
"""Our blocks in diffusers' words: the documentation of its `set_ip_adapter_scale`."""

TOLERANCES = {torch.float32: 1e-4}
"""As in tests/parity. In half precision the paths round in other places; the error is told, not judged."""

VISIBLE = 10
"""A style must change the step by so many times the tolerance: one that does nothing is equal to anything."""


@dataclass(frozen=True)
class Arm:
    """One way to take the step: what is put around it, and what that has cost so far."""

    styling: Callable[[], AbstractContextManager[None]]
    cost: dict[str, float] = field(default_factory=dict)


class Guest(IPAdapterMixin):
    """As much of a pipeline as diffusers' own loading of adapters asks for."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet


@torch.no_grad()
def step(unet: Any, inputs: Mapping[str, Any]) -> tuple[Tensor, float]:
    """The network's answer, and the seconds that it took."""
    finished(unet.device)
    started = perf_counter()
    answer = unet(**inputs, return_dict=False)[0]
    finished(unet.device)
    seconds = perf_counter() - started
    return answer.float().cpu(), seconds


def finished(device: torch.device) -> None:
    """A GPU works on after it was told what to do; here it is waited for."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_bytes(device: torch.device) -> int:
    """The most memory held: on CUDA since last asked, on a CPU by the process since it began."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return peak
    # Kilobytes, but on macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def arms_of(unet: Any, path: Path, style: Style) -> Iterator[tuple[str, Arm]]:
    """Each made when asked for, the lightest first: what a later one loads is not there yet."""
    yield "plain", Arm(nullcontext)
    for blocks in SCALES:
        yield from our_arm(unet, path, style, blocks)
    yield from their_arms(unet, path)


def our_arm(unet: Any, path: Path, style: Style, blocks: str) -> Iterator[tuple[str, Arm]]:
    """The adapter stays until the next arm is asked for, as it does in an `InstantStyle`, but nothing that it
    has read; the network needs only the keys and values.
    """
    started = perf_counter()
    adapter = IPAdapter(IPAdapterCheckpoint.open(path), unet)
    bound = merge_bound_styles([adapter.bind(StyleConditioning(style, blocks=blocks))])
    ready = [keys for styles in bound.values() for keys in styles]
    cost = {
        "prepare_seconds": perf_counter() - started,
        "bytes_read": adapter.file.bytes_read,
        "network_bytes": sum(keys.key.nbytes + keys.value.nbytes for keys in ready),
    }
    # A moment asks no more of a pipeline while no style is masked or timed.
    moment = DenoisingState(SimpleNamespace(do_classifier_free_guidance=True))
    yield f"ours {blocks}", Arm(partial(inject_attention_processors, unet, bound, moment), cost)


def their_arms(unet: Any, path: Path) -> Iterator[tuple[str, Arm]]:
    """One adapter in the network for all blocks; scales of zero switch it off where it is not wanted."""
    pipe, found = Guest(unet), dict(unet.attn_processors)
    started = perf_counter()
    lean = {"low_cpu_mem_usage": is_accelerate_available(), "image_encoder_folder": None}
    pipe.load_ip_adapter(str(path.parent), subfolder="", weight_name=path.name, **lean)
    seconds = perf_counter() - started
    processors, projection = dict(unet.attn_processors), unet.encoder_hid_proj
    fit(unet, found, None)
    modules = [projection, *(one for one in processors.values() if isinstance(one, nn.Module))]
    cost = {
        "prepare_seconds": seconds,
        "bytes_read": path.stat().st_size,
        "network_bytes": sum(weight.nbytes for module in modules for weight in module.parameters()),
    }
    for blocks, scale in SCALES.items():
        yield f"diffusers {blocks}", Arm(partial(carrying, pipe, processors, projection, scale), dict(cost))


def fit(unet: Any, processors: Mapping[str, Any], projection: nn.Module | None) -> None:
    """A copy, as diffusers empties the dictionary that it is given."""
    unet.set_attn_processor(dict(processors))
    unet.encoder_hid_proj = projection


@contextmanager
def carrying(pipe: Guest, processors: Mapping[str, Any], projection: nn.Module, scale: Any) -> Iterator[None]:
    """diffusers' adapter is in the network inside the `with` block; it is not loaded anew each time."""
    found = dict(pipe.unet.attn_processors)
    try:
        fit(pipe.unet, processors, projection)
        pipe.set_ip_adapter_scale(scale)
        yield
    finally:
        fit(pipe.unet, found, None)


def first_steps(
    unet: Any, inputs: Mapping[str, Any], arms: Iterable[tuple[str, Arm]]
) -> tuple[dict[str, Tensor], dict[str, Arm]]:
    """Every arm's answer, and the arms with their peaks of memory. It warms up for the timing as well."""
    answers, ready = {}, {}
    peak_bytes(unet.device)
    for name, arm in arms:
        with arm.styling():
            answers[name], _ = step(unet, inputs)
        arm.cost["peak_bytes"] = peak_bytes(unet.device)
        ready[name] = arm
    return answers, ready


def later_step(unet: Any, inputs: Mapping[str, Any], arm: Arm) -> float:
    """Seconds of an arm's step within a call."""
    with arm.styling():
        step(unet, inputs)
        return step(unet, inputs)[1]


def difference(one: Tensor, other: Tensor) -> float:
    """The largest, in shares of the other's largest number."""
    return ((one - other).abs().max() / other.abs().max()).item()


def compared(
    blocks: str, answers: Mapping[str, Tensor], seconds: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """Us against diffusers, and both against the plain network."""
    ours, theirs = f"ours {blocks}", f"diffusers {blocks}"
    return {
        "max_relative_error": difference(answers[ours], answers[theirs]),
        "style_effect": difference(answers["plain"], answers[theirs]),
        "time_ours_to_plain": ratio(seconds[ours], seconds["plain"]),
        "time_ours_to_diffusers": ratio(seconds[ours], seconds[theirs]),
    }


def equal(compared: Mapping[str, float], tolerance: float | None) -> bool | None:
    """None where there is no tolerance to judge by."""
    if tolerance is None:
        return None
    return compared["max_relative_error"] <= tolerance < compared["style_effect"] / VISIBLE


def results_of(unet: Any, path: Path, side: int, seed: int, rounds: int) -> dict[str, Any]:
    """`arms`: what each costs; `blocks`: how ours and diffusers' compare."""
    inputs, tolerance = inputs_of(unet, side, seed), TOLERANCES.get(unet.dtype)
    answers, arms = first_steps(unet, inputs, arms_of(unet, path, style_in(inputs)))
    seconds = taken({name: partial(later_step, unet, inputs, arm) for name, arm in arms.items()}, rounds)
    blocks = {name: compared(name, answers, seconds) for name in SCALES}
    return {
        "tolerance": tolerance,
        "blocks": {name: {"equal": equal(one, tolerance), **one} for name, one in blocks.items()},
        "arms": {name: {"seconds": median(seconds[name]), **arm.cost} for name, arm in arms.items()},
        "adapter_file_bytes": path.stat().st_size,
        "unet_bytes": sum(weight.nbytes for weight in unet.parameters()),
    }


def main(words: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    args = _options().parse_args(words)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    args.side = args.side or (128 if device.type == "cuda" else 32)
    unet = sketched(TINY_UNET if args.tiny else SDXL_UNET)
    with TemporaryDirectory() as folder:
        path = Path(folder, ADAPTER)
        write_adapter(path, cross_attention_layers(unet), embedding_dim(unet), args.seed)
        results = results_of(filled(unet, device, dtype, args.seed), path, args.side, args.seed, args.rounds)
    args.dtype = str(dtype).removeprefix("torch.")
    report(_question(), args, results, command=["benchmarks.full_size", *words], device=device)
    return int(any(one["equal"] is False for one in results["blocks"].values()))


def _question() -> str:
    return (__doc__ or "").splitlines()[0]


def _options() -> argparse.ArgumentParser:
    options = parser(_question(), rounds=3)
    options.add_argument(
        "--side", type=positive, help="of the latents; 128 on CUDA, 32 on a CPU unless given"
    )
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--tiny", action="store_true", help="every width a sixteenth")
    return options


if __name__ == "__main__":
    sys.exit(main())
