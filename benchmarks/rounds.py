"""Timing side by side: every arm in turn, round after round, so that what else runs falls upon all."""

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import diffusers
import torch

RESULTS = Path(__file__).parent / "results"


def timed(arms: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each arm in each round; a round before the first warms up and is not counted.

    Every other round runs backwards: the arm that follows a slow one must not pay for it each time.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        order = list(arms) if number % 2 else list(reversed(arms))
        for name in order:
            begun = perf_counter()
            arms[name]()
            if number:
                seconds[name].append(perf_counter() - begun)
    return seconds


def ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """The median of what each round says."""
    return median(one / other for one, other in zip(ones, others, strict=True))


def machine() -> dict[str, Any]:
    """What the seconds depend on."""
    return {
        "machine": f"{torch.get_num_threads()} threads, {platform.machine()}",
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }


def parser(question: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that all of these have."""
    made = argparse.ArgumentParser(description=question)
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("-o", "--output", type=Path)
    return made


def report(question: str, args: argparse.Namespace, results: Mapping[str, Any]) -> None:
    """JSON on the screen and in the file asked for."""
    command = shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    settings = {"command": command, **machine(), **{k: v for k, v in vars(args).items() if k != "output"}}
    told = json.dumps({"question": question, "settings": settings, "results": results}, indent=1)
    print(told)
    if args.output:
        args.output.parent.mkdir(exist_ok=True)
        args.output.write_text(f"{told}\n")
