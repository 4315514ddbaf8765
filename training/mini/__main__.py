"""Train the bundled model: every stage in turn, each resumable.

    python -m training.mini                      # all stages, with the settings of this device
    python -m training.mini vae --minutes 5      # one stage, up to a total of five minutes

The states are saved in `--folder`; `training.mini.export` builds the model from them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from training.mini.device import training_device
from training.mini.distributed import run_processes
from training.mini.settings import CPU, CUDA
from training.mini.stages import STAGES, run_stage


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the stages that the command line names."""
    args = _argument_parser().parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    budgets = CUDA if training_device().type == "cuda" else CPU
    for name in args.stages or STAGES:
        budget = budgets[name]
        given = dict(minutes=args.minutes, batch=args.batch, lr=args.lr)
        budget = replace(budget, **{name: value for name, value in given.items() if value})
        run_processes(args.processes, run_stage, name, args.folder, budget, args.steps)


def _parse_stage(name: str) -> str:
    if name not in STAGES:
        raise argparse.ArgumentTypeError(f"no stage {name!r}; there are {', '.join(STAGES)}")
    return name


def _argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", type=_parse_stage, help=f"of {', '.join(STAGES)}; default: all")
    parser.add_argument("--minutes", type=float, help="total training time of each named stage")
    parser.add_argument("--steps", type=int, help="maximum number of steps in total of each named stage")
    parser.add_argument("--batch", type=int, help="images a step, in each process")
    parser.add_argument("--lr", type=float, help="peak learning rate; a restored state goes on at a lower one")
    parser.add_argument("--folder", type=Path, default=Path("build/mini"), help="folder of the states")
    parser.add_argument("--threads", type=int, help="torch's number of threads")
    parser.add_argument("--processes", type=int, default=1, help="that train together, each on its own cores")
    return parser


if __name__ == "__main__":
    main()
