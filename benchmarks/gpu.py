"""How fast is a styled SDXL on a GPU, how much memory does it take, and how far is it from the lower bound?

    python -m benchmarks.gpu -o benchmarks/results/gpu.json    # CUDA; most of the time is compilation python
    -m benchmarks.gpu --tiny                            # every width divided by 16, in seconds, on any device

SDXL's architecture with random weights, bfloat16, 1024 px, 30 guided steps of the UNet: without a style, with
a style of this package and with diffusers in the style block, for one image and for eight, eager and
compiled.
"""

import argparse
import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from benchmarks.full_size import (
    Arm,
    create_arms,
    max_relative_difference,
    read_peak_bytes,
    run_step,
    synchronize,
)
from benchmarks.rounds import collect_rounds, find_device_name, median_ratio, parse_positive, write_report
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
from instantstyle import Style
from instantstyle.core.adapter_layers import cross_attention_layers

ARMS = ("plain", "ours style", "diffusers style")

STEP_FLOP = 11.96e12
"""FLOP of one guided step at 1024 px for one image: matrix products and convolutions only."""

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""FLOP per second, dense, in bfloat16, from the manufacturers' data sheets."""


def repeat_inputs(inputs: Mapping[str, Any], images: int) -> dict[str, Any]:
    """Repeat the inputs for several images: first all unconditional halves, as in pipelines."""
    added = inputs["added_cond_kwargs"]
    return {
        **{name: inputs[name].repeat_interleave(images, 0) for name in ("sample", "encoder_hidden_states")},
        "timestep": inputs["timestep"],
        "added_cond_kwargs": {
            **{name: added[name].repeat_interleave(images, 0) for name in ("text_embeds", "time_ids")},
            "image_embeds": [embeds.repeat_interleave(images, 0) for embeds in added["image_embeds"]],
        },
    }


@torch.no_grad()
def time_steps(unet: Any, inputs: Mapping[str, Any], steps: int) -> float:
    """Return the seconds of several steps, without synchronising in between, as in a pipeline."""
    synchronize(unet.device)
    started = perf_counter()
    for _ in range(steps):
        unet(**inputs, return_dict=False)
    synchronize(unet.device)
    return perf_counter() - started


def run_arms(
    unet: Any, path: Path, inputs: Mapping[str, Any], style: Style
) -> tuple[dict[str, Arm], dict[str, Tensor]]:
    """Run a step with each arm.

    Each arm's peak is measured before the next arm is created, because diffusers' adapter stays in the GPU's
    memory. An uncounted step precedes it for the compiler, which needs memory of its own.

    Returns:
        The arms with their peaks of memory, and their outputs.
    """
    arms, outputs = {}, {}
    for name, arm in create_arms(unet, path, style):
        if name in ARMS:
            with arm.styling():
                run_step(unet, inputs)
                read_peak_bytes(unet.device)
                outputs[name], _ = run_step(unet, inputs)
                arm.cost["peak_bytes"] = read_peak_bytes(unet.device)
            arms[name] = arm
    return arms, outputs


def time_arm(unet: Any, inputs: Mapping[str, Any], steps: int, arm: Arm) -> float:
    """Return the seconds of all steps with an arm, after an uncounted step."""
    with arm.styling():
        time_steps(unet, inputs, 1)
        return time_steps(unet, inputs, steps)


def measure_setting(
    unet: Any, path: Path, inputs: Mapping[str, Any], style: Style, steps: int, rounds: int
) -> dict[str, Any]:
    """Measure all arms: seconds and peaks of each, and the difference to diffusers."""
    arms, outputs = run_arms(unet, path, inputs, style)
    timed = {name: partial(time_arm, unet, inputs, steps, arm) for name, arm in arms.items()}
    seconds = collect_rounds(timed, rounds)
    plain, theirs = seconds["plain"], seconds["diffusers style"]
    return {
        "max_relative_error": max_relative_difference(outputs["ours style"], outputs["diffusers style"]),
        "style_effect": max_relative_difference(outputs["plain"], outputs["diffusers style"]),
        "arms": {
            name: {
                "seconds": median(spent),
                "to_plain": median_ratio(spent, plain),
                "to_diffusers": median_ratio(spent, theirs),
                "peak_bytes": arms[name].cost["peak_bytes"],
            }
            for name, spent in seconds.items()
        },
    }


def lower_bound_seconds(device: str, images: int, steps: int) -> float | None:
    """Return the seconds that the GPU's peak throughput allows at best; None if it is not known."""
    speed = next((speed for name, speed in PEAK_FLOPS.items() if name in device), None)
    return None if speed is None else STEP_FLOP * images * steps / speed


def iterate_settings(unet: Any, compiled: bool, counts: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Yield eager, then compiled, each with every number of images; compiles the UNet in between."""
    for images in counts:
        yield "eager", images
    if compiled:
        unet.compile()
        for images in counts:
            # Compile for this number alone; otherwise the second one would be compiled for any number and be
            # slower.
            torch.compiler.reset()
            yield "compiled", images


def measure_settings(unet: Any, path: Path, side: int, args: argparse.Namespace) -> dict[str, Any]:
    """Measure every setting of `iterate_settings`."""
    inputs, device, settings = create_inputs(unet, side, args.seed), find_device_name(unet.device), []
    for way, images in iterate_settings(unet, args.compile, args.pictures):
        repeated, bound = repeat_inputs(inputs, images), lower_bound_seconds(device, images, args.steps)
        setting = measure_setting(unet, path, repeated, create_style(inputs), args.steps, args.rounds)
        settings.append({"way": way, "pictures": images, "floor_seconds": bound, **setting})
        # What the arms of one setting leave behind is not part of the next one's peak.
        gc.collect()
    return {"device": device, "steps": args.steps, "settings": settings}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = _argument_parser().parse_args(arguments)
    on_gpu = torch.cuda.is_available()
    if not (on_gpu or args.tiny):
        raise SystemExit("There is no CUDA device. --tiny checks on a CPU that the benchmark runs.")
    device, dtype = torch.device("cuda" if on_gpu else "cpu"), torch.bfloat16 if on_gpu else torch.float32
    unet = create_meta_unet(TINY_UNET if args.tiny else SDXL_UNET)
    with TemporaryDirectory() as folder:
        path = Path(folder, ADAPTER)
        write_adapter(path, cross_attention_layers(unet), embedding_dim(unet), args.seed)
        unet = fill_unet(unet, device, dtype, args.seed)
        results = measure_settings(unet, path, 8 if args.tiny else 128, args)
    question = (__doc__ or "").splitlines()[0]
    write_report(question, args, results, command=["benchmarks.gpu", *arguments], device=device)


def _argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pictures", type=parse_positive, nargs="+", default=[1, 8], help="numbers of images in a call"
    )
    parser.add_argument("--steps", type=parse_positive, default=30)
    parser.add_argument("--rounds", type=parse_positive, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--tiny", action="store_true", help="every width divided by 16")
    parser.add_argument("-o", "--output", type=Path)
    return parser


if __name__ == "__main__":
    main()
