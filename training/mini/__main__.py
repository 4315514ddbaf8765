"""Make the bundled model: every stage in turn, each resumable.

    python -m training.mini                      # all stages, this device's settings
    python -m training.mini vae --minutes 5      # one stage, up to a total of five minutes

What they have learnt lies in `--folder`; `training.mini.export` makes the model from it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from training.mini.crew import together
from training.mini.device import here
from training.mini.settings import CPU, CUDA
from training.mini.stages import STAGES, run


def main(words: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(words)
    if args.threads:
        torch.set_num_threads(args.threads)
    paces = CUDA if here().type == "cuda" else CPU
    for name in args.stages or STAGES:
        pace = paces[name]
        pace = replace(pace, minutes=args.minutes or pace.minutes, batch=args.batch or pace.batch)
        together(args.processes, run, name, args.folder, pace, args.steps)


def _stage(name: str) -> str:
    if name not in STAGES:
        raise argparse.ArgumentTypeError(f"no stage {name!r}; there are {', '.join(STAGES)}")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", type=_stage, help=f"of {', '.join(STAGES)}; all unless named")
    parser.add_argument("--minutes", type=float, help="training time in all for each named stage")
    parser.add_argument("--steps", type=int, help="at most so many steps in all for each named stage")
    parser.add_argument("--batch", type=int, help="pictures a step, in each process")
    parser.add_argument("--folder", type=Path, default=Path("build/mini"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--processes", type=int, default=1, help="that train together, each on its own cores")
    return parser


if __name__ == "__main__":
    main()
