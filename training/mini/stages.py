"""The stages by name, and the run of one stage."""

from importlib import import_module
from pathlib import Path

import torch

from training.mini.device import use_training_device
from training.mini.settings import SEED, Budget
from training.mini.stage import Stage, train

STAGES = {
    "vae": "vae.VaeStage",
    "clip": "clip.ClipStage",
    "vision": "clip.ClipStage",
    "text": "text.TextStage",
    "unet-8": "unet.UnetStage",
    "unet-16": "unet.UnetStage",
    "unet": "unet.UnetStage",
    "guide": "guide.GuideStage",
    "adversarial": "adversarial.AdversarialStage",
    "decoder": "decoder.DecoderStage",
    "adapter": "adapter.AdapterStage",
    "adversarial-adapter": "adversarial_adapter.AdversarialAdapterStage",
    "distilled": "distilled.DistilledStage",
    "distilled-adapter": "distilled_adapter.DistilledAdapterStage",
    "controlnet": "controlnet.ControlNetStage",
    "classifier": "classifier.ClassifierStage",
}
"""Module and class of each stage, in the order in which they depend on each other; imported when built."""


def build_stage(name: str, folder: Path) -> Stage:
    """Build a stage.

    Args:
        name: One of `STAGES`.
        folder: Folder that the states of earlier stages are read from.

    Returns:
        The stage, untrained.
    """
    module, _, class_name = STAGES[name].partition(".")
    return getattr(import_module(f"training.mini.{module}"), class_name)(folder, name)


def run_stage(name: str, folder: Path, budget: Budget, steps: int | None = None) -> None:
    """Train a stage until its budget is spent or until `steps` steps are made in total."""
    torch.manual_seed(SEED)
    with use_training_device():
        train(build_stage(name, folder), folder, budget, steps)
