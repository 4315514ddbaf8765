"""Does this package equal diffusers' own IP-Adapter path on SDXL's architecture, and what does it cost?

    python -m benchmarks.full_size -o full_size.json    # in float32 the UNet alone takes 10.3 GB
    python -m benchmarks.full_size --tiny               # every width divided by 16, in seconds

One guided step of the UNet is run without a style, with a style of this package and with diffusers. The timed
step is the second of a call of diffusers' pipeline, like all but the first. Weights are random: neither
equality nor cost depends on them. JSON is printed and written to `-o`; the exit code is 1 if the two paths
differ.
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
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline
from diffusers.loaders import IPAdapterMixin
from diffusers.utils import is_accelerate_available
from torch import Tensor, nn

from benchmarks.rounds import collect_rounds, create_parser, median_ratio, parse_positive, write_report
from benchmarks.sdxl import (
    ADAPTER,
    SDXL_UNET,
    TINY_UNET,
    create_inputs,
    create_meta_unet,
    create_style,
    embedding_dim,
    fill_unet,
    write_adapter,
)
from instantstyle import Style, StyleConditioning
from instantstyle.core.adapter_layers import cross_attention_layers
from instantstyle.core.attention.decoupled import StyleKeyValues
from instantstyle.core.injection import inject_attention_processors
from instantstyle.core.ip_adapter import IPAdapter
from instantstyle.core.row_layout import GUIDED
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

SCALES: dict[str, Any] = {"style": {"up": {"block_0": [0.0, 1.0, 0.0]}}, "all": 1.0}
"""By selection of blocks: the argument of diffusers' `set_ip_adapter_scale` from its documentation."""

TOLERANCES = {torch.float32: 1e-4}
"""As in tests/parity. In half precision the paths round in different places; the error is reported only."""

VISIBLE = 10
"""Smallest effect of the style, in tolerances: a style without an effect would equal any other path."""


@dataclass(frozen=True)
class Arm:
    """One way to run the step.

    Attributes:
        styling: Creates the context in which the UNet is styled.
        cost: What its preparation has cost.
    """

    styling: Callable[[], AbstractContextManager[None]]
    cost: dict[str, float] = field(default_factory=dict)


class AdapterPipeline(IPAdapterMixin):
    """The part of a pipeline that diffusers' loader of adapters requires."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet


@torch.no_grad()
def run_step(unet: Any, inputs: Mapping[str, Any]) -> tuple[Tensor, float]:
    """Run one step; returns the output in float32 on the CPU, and the seconds."""
    synchronize(unet.device)
    started = perf_counter()
    output = unet(**inputs, return_dict=False)[0]
    synchronize(unet.device)
    seconds = perf_counter() - started
    return output.float().cpu(), seconds


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def read_peak_bytes(device: torch.device) -> int:
    """Return the peak of memory: on CUDA since the last call, on a CPU since the process started."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return peak
    # Kilobytes, but bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def create_arms(unet: Any, path: Path, style: Style) -> Iterator[tuple[str, Arm]]:
    """Yield all arms, each created when requested, in order of their memory.

    What a later arm loads does not count in the peak of an earlier one.
    """
    yield "plain", Arm(nullcontext)
    for blocks in SCALES:
        yield from create_own_arm(unet, path, style, blocks)
    yield from create_diffusers_arms(unet, path)


def create_own_arm(unet: Any, path: Path, style: Style, blocks: str) -> Iterator[tuple[str, Arm]]:
    """Yield this package's arm.

    As in an `InstantStyle`, the adapter stays alive until the next arm is requested, but nothing that it has
    read: the UNet needs only the keys and values.
    """
    started = perf_counter()
    checkpoint = IPAdapterCheckpoint.open(path)
    adapter = IPAdapter(checkpoint, unet)
    bound = adapter.style_layers(StyleConditioning(style, blocks=blocks))
    ready = [cast(StyleKeyValues, keys) for styles in bound.values() for keys in styles]
    cost = {
        "prepare_seconds": perf_counter() - started,
        "bytes_read": checkpoint.bytes_read,
        "network_bytes": sum(keys.key.nbytes + keys.value.nbytes for keys in ready),
    }
    yield f"ours {blocks}", Arm(partial(inject_attention_processors, unet, bound, row_layout=GUIDED), cost)


def create_diffusers_arms(unet: Any, path: Path) -> Iterator[tuple[str, Arm]]:
    """Yield diffusers' arms: one adapter in the UNet for all blocks, disabled by scales of zero."""
    pipe, processors_before = AdapterPipeline(unet), dict(unet.attn_processors)
    started = perf_counter()
    options = {"low_cpu_mem_usage": is_accelerate_available(), "image_encoder_folder": None}
    pipe.load_ip_adapter(str(path.parent), subfolder="", weight_name=path.name, **options)
    seconds = perf_counter() - started
    processors, projection = dict(unet.attn_processors), unet.encoder_hid_proj
    install_processors(unet, processors_before, None)
    modules = [projection, *(one for one in processors.values() if isinstance(one, nn.Module))]
    cost = {
        "prepare_seconds": seconds,
        "bytes_read": path.stat().st_size,
        "network_bytes": sum(weight.nbytes for module in modules for weight in module.parameters()),
    }
    for blocks, scale in SCALES.items():
        styling = partial(use_diffusers_adapter, pipe, processors, projection, scale)
        yield f"diffusers {blocks}", Arm(styling, dict(cost))


def install_processors(unet: Any, processors: Mapping[str, Any], projection: nn.Module | None) -> None:
    """Set processors and projection; a copy of the dictionary, because diffusers empties its argument."""
    unet.set_attn_processor(dict(processors))
    unet.encoder_hid_proj = projection


@contextmanager
def use_diffusers_adapter(
    pipe: AdapterPipeline, processors: Mapping[str, Any], projection: nn.Module, scale: Any
) -> Iterator[None]:
    """Install diffusers' loaded adapter for the `with` block."""
    before = dict(pipe.unet.attn_processors)
    try:
        install_processors(pipe.unet, processors, projection)
        pipe.set_ip_adapter_scale(scale)
        yield
    finally:
        install_processors(pipe.unet, before, None)


def run_first_steps(
    unet: Any, inputs: Mapping[str, Any], arms: Iterable[tuple[str, Arm]]
) -> tuple[dict[str, Tensor], dict[str, Arm]]:
    """Run a step with every arm, which also warms up for the timing.

    Returns:
        The outputs, and the arms with their peaks of memory.
    """
    outputs, ready = {}, {}
    read_peak_bytes(unet.device)
    for name, arm in arms:
        with arm.styling():
            outputs[name], _ = run_step(unet, inputs)
        arm.cost["peak_bytes"] = read_peak_bytes(unet.device)
        ready[name] = arm
    return outputs, ready


class TimedScheduler(EulerDiscreteScheduler):
    """A scheduler that times what a pipeline runs between its scaled input and its step: the UNet and guidance."""

    seconds: list[float]
    started: float

    def scale_model_input(self, *args: Any, **kwargs: Any) -> Any:
        scaled = super().scale_model_input(*args, **kwargs)
        synchronize(scaled.device)
        self.started = perf_counter()
        return scaled

    def step(self, model_output: Tensor, *args: Any, **kwargs: Any) -> Any:
        synchronize(model_output.device)
        self.seconds.append(perf_counter() - self.started)
        return super().step(model_output, *args, **kwargs)


def create_pipeline(unet: Any) -> StableDiffusionXLPipeline:
    """Create a pipeline of the UNet that takes embeddings and returns latents; its VAE is small and not run."""
    blocks: dict[str, Any] = {
        "block_out_channels": (4,) * 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    vae: Any = AutoencoderKL(**blocks, norm_num_groups=4)
    absent: dict[str, Any] = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    parts = {"vae": vae.to(unet.device, unet.dtype), "unet": unet, "scheduler": TimedScheduler(), **absent}
    pipe = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def time_later_step(pipe: Any, inputs: Mapping[str, Any], arm: Arm) -> float:
    """Return the seconds of the second step of a call of the pipeline."""
    texts, pooled = inputs["encoder_hidden_states"], inputs["added_cond_kwargs"]["text_embeds"]
    side = 8 * inputs["sample"].shape[-1]
    pipe.scheduler.seconds = []
    with arm.styling():
        has_adapter = pipe.unet.encoder_hid_proj is not None
        pipe(
            prompt_embeds=texts[1:],
            negative_prompt_embeds=texts[:1],
            pooled_prompt_embeds=pooled[1:],
            negative_pooled_prompt_embeds=pooled[:1],
            ip_adapter_image_embeds=inputs["added_cond_kwargs"]["image_embeds"] if has_adapter else None,
            latents=inputs["sample"][:1],
            **{"height": side, "width": side, "num_inference_steps": 2, "output_type": "latent"},
        )
    return pipe.scheduler.seconds[1]


def max_relative_difference(one: Tensor, other: Tensor) -> float:
    """Return the largest absolute difference, relative to the largest absolute value of `other`."""
    return ((one - other).abs().max() / other.abs().max()).item()


def compare_paths(
    blocks: str, outputs: Mapping[str, Tensor], seconds: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """Compare this package with diffusers, and both with the plain UNet."""
    ours, theirs = f"ours {blocks}", f"diffusers {blocks}"
    return {
        "max_relative_error": max_relative_difference(outputs[ours], outputs[theirs]),
        "style_effect": max_relative_difference(outputs["plain"], outputs[theirs]),
        "time_ours_to_plain": median_ratio(seconds[ours], seconds["plain"]),
        "time_ours_to_diffusers": median_ratio(seconds[ours], seconds[theirs]),
    }


def is_equal(comparison: Mapping[str, float], tolerance: float | None) -> bool | None:
    """Return whether the paths are equal and the style has an effect; None without a tolerance."""
    if tolerance is None:
        return None
    return comparison["max_relative_error"] <= tolerance < comparison["style_effect"] / VISIBLE


def measure_full_size(unet: Any, path: Path, side: int, seed: int, rounds: int) -> dict[str, Any]:
    """Measure all arms.

    Args:
        unet: The UNet.
        path: The adapter file.
        side: Side of the latents.
        seed: Seed of the inputs.
        rounds: Number of rounds of the timing.

    Returns:
        `arms`: the cost of each arm; `blocks`: the comparison with diffusers for each selection of blocks.
    """
    inputs, tolerance = create_inputs(unet, side, seed), TOLERANCES.get(unet.dtype)
    outputs, arms = run_first_steps(unet, inputs, create_arms(unet, path, create_style(inputs)))
    pipe = create_pipeline(unet)
    timed = {name: partial(time_later_step, pipe, inputs, arm) for name, arm in arms.items()}
    seconds = collect_rounds(timed, rounds)
    blocks = {name: compare_paths(name, outputs, seconds) for name in SCALES}
    return {
        "tolerance": tolerance,
        "blocks": {name: {"equal": is_equal(one, tolerance), **one} for name, one in blocks.items()},
        "arms": {name: {"seconds": median(seconds[name]), **arm.cost} for name, arm in arms.items()},
        "adapter_file_bytes": path.stat().st_size,
        "unet_bytes": sum(weight.nbytes for weight in unet.parameters()),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    question = (__doc__ or "").splitlines()[0]
    args = _argument_parser(question).parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    args.side = args.side or (128 if device.type == "cuda" else 32)
    unet = create_meta_unet(TINY_UNET if args.tiny else SDXL_UNET)
    with TemporaryDirectory() as folder:
        path = Path(folder, ADAPTER)
        write_adapter(path, cross_attention_layers(unet), embedding_dim(unet), args.seed)
        unet = fill_unet(unet, device, dtype, args.seed)
        results = measure_full_size(unet, path, args.side, args.seed, args.rounds)
    args.dtype = str(dtype).removeprefix("torch.")
    write_report(question, args, results, command=["benchmarks.full_size", *arguments], device=device)
    return int(any(one["equal"] is False for one in results["blocks"].values()))


def _argument_parser(question: str) -> argparse.ArgumentParser:
    parser = create_parser(question, rounds=3)
    parser.add_argument("--side", type=parse_positive, help="of the latents; default: 128 on CUDA, 32 on a CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="every width divided by 16")
    return parser


if __name__ == "__main__":
    sys.exit(main())
