"""Make the bundled model: every stage in turn, each resumable.

    python -m training.mini                      # all stages, this device's settings
    python -m training.mini vae --minutes 5      # one stage, up to a total of five minutes
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from training.mini.settings import CPU, CUDA, SEED
from training.mini.stage import train


def build(name: str, folder: Path):
    """The stage of that name; earlier stages are read from `folder`."""
    if name == "vae":
        from training.mini.vae import VaeStage

        return VaeStage()
    if name in ("clip", "vision"):
        from training.mini.clip import ClipStage

        return ClipStage(name, folder)
    if name in ("unet-small", "unet"):
        from training.mini.unet import UnetStage

        return UnetStage(name, folder)
    if name == "adapter":
        from training.mini.adapter import AdapterStage

        return AdapterStage(folder)
    if name == "judge":
        from training.mini.judge import JudgeStage

        return JudgeStage(folder)
    raise SystemExit(f"no stage {name}")


def main() -> None:
    paces = CUDA if torch.cuda.is_available() else CPU
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", default=list(paces))
    parser.add_argument("--minutes", type=float, help="training time in all for each named stage")
    parser.add_argument("--folder", type=Path, default=Path("build/mini"))
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    for name in args.stages:
        torch.manual_seed(SEED)
        pace = replace(paces[name], minutes=args.minutes) if args.minutes else paces[name]
        train(build(name, args.folder), args.folder, pace)


if __name__ == "__main__":
    main()
