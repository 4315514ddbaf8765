"""How fast is a styled SDXL on a GPU, how much memory does it take, and how far is it from the floor?

    python -m benchmarks.gpu -o benchmarks/results/gpu.json    # CUDA; about ten minutes on an H100
    python -m benchmarks.gpu --tiny                            # every width a sixteenth, in seconds, anywhere

SDXL's true shape with random weights, bf16, 1024 px, 30 guided steps of the network: plain, styled by us and
styled by diffusers in the style block, one picture and eight, eager and compiled.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from benchmarks.full_size import Arm, arms_of, device_name, peak_bytes, step
from benchmarks.rounds import ratio, report
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
from instantstyle.adapter import layers_of

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


def drawn(unet: Any, inputs: Mapping[str, Any], steps: int) -> float:
    """Seconds of so many steps, one after the other."""
    begun = perf_counter()
    for _ in range(steps):
        step(unet, inputs)
    return perf_counter() - begun


def measured(
    unet: Any, arms: Mapping[str, Arm], inputs: Mapping[str, Any], steps: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Each arm's seconds and its peak of memory, in rounds; a step of each goes before, uncounted."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    peaks: dict[str, int] = {}
    for number in range(rounds + 1):
        for name, arm in arms.items():
            with arm.styling():
                peak_bytes(unet.device)
                spent = drawn(unet, inputs, steps if number else 1)
                peaks[name] = peak_bytes(unet.device)
            if number:
                seconds[name].append(spent)
    plain, theirs = seconds["plain"], seconds["diffusers style"]
    return {
        name: {
            "seconds": median(spent),
            "to_plain": ratio(spent, plain),
            "to_diffusers": ratio(spent, theirs),
            "peak_bytes": peaks[name],
        }
        for name, spent in seconds.items()
    }


def floor(device: str, pictures: int, steps: int) -> float | None:
    """Seconds below which no such drawing can be on this GPU; None where its speed is not known."""
    speed = next((speed for name, speed in PEAK_FLOPS.items() if name in device), None)
    return None if speed is None else STEP_FLOP * pictures * steps / speed


def ways(unet: Any, compiled: bool) -> Iterator[str]:
    """Eager, then compiled; the network changes in between."""
    yield "eager"
    if compiled:
        unet.compile()
        yield "compiled"


def results_of(unet: Any, path: Path, side: int, args: argparse.Namespace) -> dict[str, Any]:
    inputs = inputs_of(unet, side, args.seed)
    arms = {name: arm for name, arm in arms_of(unet, path, style_in(inputs)) if name in ARMS}
    where, found = device_name(unet.device), []
    for way in ways(unet, args.compile):
        for pictures in args.pictures:
            asked = for_pictures(inputs, pictures)
            arms_measured = measured(unet, arms, asked, args.steps, args.rounds)
            least = floor(where, pictures, args.steps)
            found.append({"way": way, "pictures": pictures, "floor_seconds": least, "arms": arms_measured})
    return {"device": where, "steps": args.steps, "settings": found}


def main(words: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(words)
    on_gpu = torch.cuda.is_available()
    if not (on_gpu or args.tiny):
        raise SystemExit("There is no CUDA device; --tiny shows on a CPU that all of this runs.")
    device, dtype = torch.device("cuda" if on_gpu else "cpu"), torch.bfloat16 if on_gpu else torch.float32
    unet = sketched(TINY_UNET if args.tiny else SDXL_UNET)
    with TemporaryDirectory() as folder:
        path = Path(folder, ADAPTER)
        write_adapter(path, layers_of(unet), embedding_dim(unet), args.seed)
        results = results_of(filled(unet, device, dtype, args.seed), path, 8 if args.tiny else 128, args)
    report((__doc__ or "").splitlines()[0], args, results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, nargs="+", default=[1, 8], help="at once")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--tiny", action="store_true", help="every width a sixteenth")
    parser.add_argument("-o", "--output", type=Path)
    return parser


if __name__ == "__main__":
    main()
