"""Timing side by side: every arm in turn, round after round, so that what else runs falls upon all."""

import argparse
import json
import platform
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import diffusers
import torch

CPU = torch.device("cpu")

RESULTS = Path(__file__).parent / "results"


def timed(arms: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each arm in each round; a round before the first warms up and is not counted."""
    for name in reversed(arms):
        arms[name]()
    return taken({name: partial(_clocked, arm) for name, arm in arms.items()}, rounds)


def taken(arms: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each arm says that it took, in each round.

    Every other round runs backwards: the arm that follows a slow one must not pay for it each time.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds):
        for name in reversed(arms) if number % 2 else arms:
            seconds[name].append(arms[name]())
    return seconds


def _clocked(arm: Callable[[], Any]) -> float:
    begun = perf_counter()
    arm()
    return perf_counter() - begun


def ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """The median of what each round says."""
    return median(one / other for one, other in zip(ones, others, strict=True))


def device_name(device: torch.device) -> str:
    """As its maker calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    told = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", told.read_text()) if told.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def machine(device: torch.device = CPU) -> dict[str, Any]:
    """What the seconds depend on."""
    threads = "" if device.type == "cuda" else f"{torch.get_num_threads()} threads of "
    return {
        "machine": f"{threads}{device_name(device)}",
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }


def parser(question: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that all of these have."""
    made = argparse.ArgumentParser(description=question)
    made.add_argument("--rounds", type=positive, default=rounds)
    made.add_argument("-o", "--output", type=Path)
    return made


def positive(word: str) -> int:
    """What `--rounds` and its like take."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number from 1")
    return int(word)


def report(
    question: str,
    args: argparse.Namespace,
    results: Mapping[str, Any],
    *,
    command: Sequence[str] | None = None,
    device: torch.device = CPU,
) -> None:
    """JSON on the screen and in the file asked for; `command`: the module and its words, where they are not
    this process's.
    """
    module, *words = command or [f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
    told = {name: value for name, value in vars(args).items() if name != "output"}
    settings = {"command": shlex.join(["python", "-m", module, *words]), **machine(device), **told}
    told = json.dumps({"question": question, "settings": settings, "results": results}, indent=1)
    print(told)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(f"{told}\n")
