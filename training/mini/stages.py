"""The stages by name, and a run of one."""

from importlib import import_module
from pathlib import Path

import torch

from training.mini.device import at_home
from training.mini.settings import SEED, Pace
from training.mini.stage import Stage, train

STAGES = {
    "vae": "vae.VaeStage",
    "vae-full": "vae.VaeFullStage",
    "clip": "clip.ClipStage",
    "vision": "clip.ClipStage",
    "text": "text.TextStage",
    "unet-small": "unet.UnetStage",
    "unet": "unet.UnetStage",
    "decoder": "decoder.DecoderStage",
    "adapter": "adapter.AdapterStage",
    "judge": "judge.JudgeStage",
}
"""Where each stage is, in the order in which they need each other; imported only when it is built."""


def build(name: str, folder: Path) -> Stage:
    """The stage of that name; earlier stages are read from `folder`."""
    file, _, kind = STAGES[name].partition(".")
    return getattr(import_module(f"training.mini.{file}"), kind)(folder, name)


def run(name: str, folder: Path, pace: Pace, steps: int | None = None) -> None:
    """Train the stage until `pace` or `steps` say so."""
    torch.manual_seed(SEED)
    with at_home():
        train(build(name, folder), folder, pace, steps)
