"""Make the bundled model: every stage in turn, each resumable.

    python -m training.mini                      # all stages, this device's settings
    python -m training.mini vae --minutes 5      # one stage, up to a total of five minutes

What they have learnt lies in `--folder`; `training.mini.export` makes the model from it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import torch

from training.mini.settings import CPU, CUDA, SEED
from training.mini.stage import Stage, train

STAGES = {
    "vae": "vae.VaeStage",
    "clip": "clip.ClipStage",
    "vision": "clip.ClipStage",
    "unet-small": "unet.UnetStage",
    "unet": "unet.UnetStage",
    "adapter": "adapter.AdapterStage",
    "judge": "judge.JudgeStage",
}
"""Where each stage is, in the order in which they need each other; imported only when it is built."""


def build(name: str, folder: Path) -> Stage:
    """The stage of that name; earlier stages are read from `folder`."""
    file, _, kind = STAGES[name].partition(".")
    return getattr(import_module(f"training.mini.{file}"), kind)(folder, name)


def main(words: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(words)
    if args.threads:
        torch.set_num_threads(args.threads)
    paces = CUDA if torch.cuda.is_available() else CPU
    for name in args.stages or STAGES:
        torch.manual_seed(SEED)
        pace = replace(paces[name], minutes=args.minutes or paces[name].minutes)
        pace = replace(pace, batch=args.batch or pace.batch)
        train(build(name, args.folder), args.folder, pace, args.steps)


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
    parser.add_argument("--batch", type=int, help="pictures a step")
    parser.add_argument("--folder", type=Path, default=Path("build/mini"))
    parser.add_argument("--threads", type=int)
    return parser


if __name__ == "__main__":
    main()
