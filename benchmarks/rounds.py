"""Interleaved timing: every arm once in each round, so that other load affects all arms alike."""

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


def time_rounds(arms: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time every arm in every round, after an uncounted round that warms up.

    Args:
        arms: What to time, by name.
        rounds: Number of rounds.

    Returns:
        Seconds of each round, by arm.
    """
    for name in reversed([*arms]):
        arms[name]()
    return collect_rounds({name: partial(_time_call, arm) for name, arm in arms.items()}, rounds)


def collect_rounds(arms: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Collect the times that the arms return, in every round.

    Every other round runs in reverse, so that no arm always follows the same slow one.

    Args:
        arms: Functions that return their own seconds, by name.
        rounds: Number of rounds.

    Returns:
        Seconds of each round, by arm.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds):
        for name in reversed([*arms]) if number % 2 else arms:
            seconds[name].append(arms[name]())
    return seconds


def _time_call(function: Callable[[], object]) -> float:
    started = perf_counter()
    function()
    return perf_counter() - started


def median_ratio(seconds: Sequence[float], baseline: Sequence[float]) -> float:
    """Return the median over rounds of the ratio of two arms' times."""
    return median(one / other for one, other in zip(seconds, baseline, strict=True))


def find_device_name(device: torch.device) -> str:
    """Return the manufacturer's name of a GPU or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return match[1] if match else platform.processor() or platform.machine()


def describe_environment(device: torch.device = CPU) -> dict[str, str]:
    """Return machine, torch and diffusers, on which the times depend."""
    threads = "" if device.type == "cuda" else f"{torch.get_num_threads()} threads of "
    return {
        "machine": format_machine(f"{threads}{find_device_name(device)}"),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }


def format_machine(machine: str) -> str:
    """Return a machine as results name it, with *thread* in the singular where it is one."""
    return re.sub(r"^1 threads ", "1 thread ", machine)


def create_parser(question: str | None, rounds: int) -> argparse.ArgumentParser:
    """Create a parser with the options of all benchmarks: `--rounds` and `--output`."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--rounds", type=parse_positive, default=rounds)
    parser.add_argument("-o", "--output", type=Path)
    return parser


def parse_positive(text: str) -> int:
    """Parse a whole number from 1.

    Raises:
        argparse.ArgumentTypeError: It is not one.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def write_report(
    question: str,
    args: argparse.Namespace,
    results: Mapping[str, Any],
    *,
    command: Sequence[str] | None = None,
    device: torch.device = CPU,
    excluded: Sequence[str] = (),
) -> None:
    """Print question, settings and results as JSON, and write them to `args.output` if given.

    Args:
        question: What the benchmark answers.
        args: Options of the benchmark, which are part of the settings.
        results: What was measured.
        command: Module and arguments, if they are not those of this process.
        device: The device that was measured.
        excluded: Options that are not part of the settings.
    """
    module, *arguments = command or [f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
    options = {name: value for name, value in vars(args).items() if name not in ("output", *excluded)}
    settings = {
        "command": shlex.join(["python", "-m", module, *arguments]),
        **describe_environment(device),
        **options,
    }
    document = json.dumps({"question": question, "settings": settings, "results": results}, indent=1)
    print(document)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(f"{document}\n")
