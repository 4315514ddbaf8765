"""How fast is a styled SDXL on a GPU, how much memory does it take, and how far is it from the floor?

    python -m benchmarks.gpu -o benchmarks/results/gpu.json    # CUDA; most of its time is compiling
    python -m benchmarks.gpu --tiny                            # every width a sixteenth, in seconds, anywhere

SDXL's true shape with random weights, bf16, 1024 px, 30 guided steps of the network: plain, styled by us and
styled by diffusers in the style block, one picture and eight, eager and compiled.
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

from benchmarks.full_size import Arm, arms_of, difference, finished, peak_bytes, step
from benchmarks.rounds import device_name, positive, ratio, report, taken
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
from instantstyle import Style
from instantstyle.core.ip_adapter import cross_attention_layers

ARMS = ("plain", "ours style", "diffusers style")

STEP_FLOP = 11.96e12
"""Of one guided step at 1024 px, one picture: products of matrices and convolutions alone."""

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""A second, dense, in bf16: the makers' data sheets."""


def for_pictures(inputs: Mapping[str, Any], pictures: int) -> dict[str, Any]:
    """The same inputs for so many pictures: all unconditional halves first, as pipelines have them."""
    added = inputs["added_cond_kwargs"]
    return {
        **{name: inputs[name].repeat_interleave(pictures, 0) for name in ("sample", "encoder_hidden_states")},
        "timestep": inputs["timestep"],
        "added_cond_kwargs": {
            **{name: added[name].repeat_interleave(pictures, 0) for name in ("text_embeds", "time_ids")},
            "image_embeds": [embeds.repeat_interleave(pictures, 0) for embeds in added["image_embeds"]],
        },
    }


@torch.no_grad()
def drawn(unet: Any, inputs: Mapping[str, Any], steps: int) -> float:
    """Seconds of so many steps; nothing is waited for in between, as in a pipeline."""
    finished(unet.device)
    begun = perf_counter()
    for _ in range(steps):
        unet(**inputs, return_dict=False)
    finished(unet.device)
    return perf_counter() - begun


def arms_in(
    unet: Any, path: Path, inputs: Mapping[str, Any], style: Style
) -> tuple[dict[str, Arm], dict[str, Tensor]]:
    """The arms with their peaks of memory, and their answers.

    Each makes its peak before the next is made: diffusers' adapter lies in the GPU's memory from then on. The
    step before is for the compiler, which needs memory of its own.
    """
    arms, answers = {}, {}
    for name, arm in arms_of(unet, path, style):
        if name in ARMS:
            with arm.styling():
                step(unet, inputs)
                peak_bytes(unet.device)
                answers[name], _ = step(unet, inputs)
                arm.cost["peak_bytes"] = peak_bytes(unet.device)
            arms[name] = arm
    return arms, answers


def drawing(unet: Any, inputs: Mapping[str, Any], steps: int, arm: Arm) -> float:
    """Seconds of an arm's drawing; an uncounted step goes before."""
    with arm.styling():
        drawn(unet, inputs, 1)
        return drawn(unet, inputs, steps)


def measured(
    unet: Any, path: Path, inputs: Mapping[str, Any], style: Style, steps: int, rounds: int
) -> dict[str, Any]:
    """`arms`: each one's seconds and peak; `max_relative_error`: ours against diffusers'."""
    arms, answers = arms_in(unet, path, inputs, style)
    seconds = taken({name: partial(drawing, unet, inputs, steps, arm) for name, arm in arms.items()}, rounds)
    plain, theirs = seconds["plain"], seconds["diffusers style"]
    return {
        "max_relative_error": difference(answers["ours style"], answers["diffusers style"]),
        "style_effect": difference(answers["plain"], answers["diffusers style"]),
        "arms": {
            name: {
                "seconds": median(spent),
                "to_plain": ratio(spent, plain),
                "to_diffusers": ratio(spent, theirs),
                "peak_bytes": arms[name].cost["peak_bytes"],
            }
            for name, spent in seconds.items()
        },
    }


def floor(device: str, pictures: int, steps: int) -> float | None:
    """Seconds below which no such drawing can be on this GPU; None where its speed is not known."""
    speed = next((speed for name, speed in PEAK_FLOPS.items() if name in device), None)
    return None if speed is None else STEP_FLOP * pictures * steps / speed


def settings(unet: Any, compiled: bool, counts: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Eager, then compiled, each for every number of pictures; the network changes in between."""
    for pictures in counts:
        yield "eager", pictures
    if compiled:
        unet.compile()
        for pictures in counts:
            # For this number alone: else the second would be compiled for any number, and run slower.
            torch.compiler.reset()
            yield "compiled", pictures


def results_of(unet: Any, path: Path, side: int, args: argparse.Namespace) -> dict[str, Any]:
    inputs, where, found = inputs_of(unet, side, args.seed), device_name(unet.device), []
    for way, pictures in settings(unet, args.compile, args.pictures):
        asked, least = for_pictures(inputs, pictures), floor(where, pictures, args.steps)
        told = measured(unet, path, asked, style_in(inputs), args.steps, args.rounds)
        found.append({"way": way, "pictures": pictures, "floor_seconds": least, **told})
        # What the arms of one setting left behind is no part of the next one's peak.
        gc.collect()
    return {"device": where, "steps": args.steps, "settings": found}


def main(words: Sequence[str] | None = None) -> None:
    words = sys.argv[1:] if words is None else words
    args = _parser().parse_args(words)
    on_gpu = torch.cuda.is_available()
    if not (on_gpu or args.tiny):
        raise SystemExit("There is no CUDA device; --tiny shows on a CPU that all of this runs.")
    device, dtype = torch.device("cuda" if on_gpu else "cpu"), torch.bfloat16 if on_gpu else torch.float32
    unet = sketched(TINY_UNET if args.tiny else SDXL_UNET)
    with TemporaryDirectory() as folder:
        path = Path(folder, ADAPTER)
        write_adapter(path, cross_attention_layers(unet), embedding_dim(unet), args.seed)
        results = results_of(filled(unet, device, dtype, args.seed), path, 8 if args.tiny else 128, args)
    question = (__doc__ or "").splitlines()[0]
    report(question, args, results, command=["benchmarks.gpu", *words], device=device)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=positive, nargs="+", default=[1, 8], help="at once")
    parser.add_argument("--steps", type=positive, default=30)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--tiny", action="store_true", help="every width a sixteenth")
    parser.add_argument("-o", "--output", type=Path)
    return parser


if __name__ == "__main__":
    main()
