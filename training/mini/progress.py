"""Measure what the UNet in training draws: how often the shipped classifier reads what the caption says.

    python -m training.mini.restore      # if there are no training states
    python -m training.mini.progress steps reading -o training/mini/results/progress.json

The named parts of the results are measured anew, and others stay as they are in the file: `stages`, the UNet of
stage `unet` with several samplers and guidance, and the same scenes rendered, which show how often the classifier
is right; `shares`, several shares of stage `adversarial` in the mean with the UNet before; `steps`, numbers of
steps of the latest UNet; `reading`, that UNet where only one block reads the words of the look. After `restore`,
all stages of the UNet are the shipped one, and only `steps` and `reading` can be measured.
"""

import argparse
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, LCMScheduler

from instantstyle.metrics import attribute_labels, load_classifier
from instantstyle.synthetic import MINI_SCOPE, Scenes, describe_scene, sample_scenes
from training.mini.device import seeded_generator
from training.mini.distilled import STYLE_BLOCK, OutsideBlocks, exchange_words
from training.mini.frozen_models import size_conditioning
from training.mini.settings import (
    FEW_STEP_SAMPLER,
    IMAGE_SIZE,
    LATENT_CHANNELS,
    LATENT_SCALE,
    SAMPLER,
    SCHEDULE,
)
from training.mini.stage import load_averaged_module
from training.mini.unet import UnetStage, adversarial_unet_weights, load_latest_unet
from training.mini.vae import Images

GUIDANCE = 3.0
PARTS = ("stages", "shares", "steps", "reading")
RENDERED, DECODED = "rendered scenes", "rendered scenes, encoded and decoded"
Samplers = dict[str, tuple[Any, Sequence[int]]]
"""Schedulers of diffusers by name, and the numbers of steps with which each one is measured."""

SAMPLERS: Samplers = {
    "DDIM": (DDIMScheduler(**SCHEDULE, clip_sample=False), [20]),  # latents are not images, which are clipped
    "DPM-Solver++ (2M)": (DPMSolverMultistepScheduler(**SCHEDULE), [8, 20]),
    "SDE-DPM-Solver++ (2M)": (DPMSolverMultistepScheduler(**SAMPLER), [4, 8, 12, 20]),
}
"""Of stage `unet`."""

FEW_STEP_SAMPLERS: Samplers = {"LCM": (LCMScheduler(**FEW_STEP_SAMPLER), [1, 2, 4, 8])}
"""Of the UNets that need no guidance."""

SHARES: Sequence[float] = (0.0, 0.5, 0.8, 0.9, 1.0)
"""Of stage `adversarial` in that mean."""

SHARE_SAMPLERS: Samplers = {"LCM": (LCMScheduler(**FEW_STEP_SAMPLER), [4])}
"""With which the shares are compared."""


@torch.no_grad()
def draw(
    stage: UnetStage,
    scenes: Scenes,
    seed: int,
    scheduler: Any,
    steps: int,
    guidance: float = 1.0,
    with_look: bool = True,
) -> Images:
    """Draw scenes from their captions, with classifier-free guidance if `guidance` is not 1."""
    count, latent_size = len(scenes), IMAGE_SIZE // LATENT_SCALE
    text = stage.clip.encode_text(caption_scenes(scenes, look=with_look))
    no_text = [torch.zeros_like(part) for part in text]
    sizes = size_conditioning(scenes, IMAGE_SIZE, torch.zeros(count, dtype=torch.bool))
    generator = seeded_generator(seed)
    latents = torch.randn(count, LATENT_CHANNELS, latent_size, latent_size, generator=generator)
    scheduler.set_timesteps(steps)
    for timestep in scheduler.timesteps:
        timesteps = timestep.repeat(count)
        velocity = stage.network(latents, timesteps, *text, sizes)
        if guidance != 1:
            without = stage.network(latents, timesteps, *no_text, sizes)
            velocity = without + guidance * (velocity - without)
        latents = scheduler.step(velocity, timestep, latents, generator=generator).prev_sample
    return stage.codec.decode(latents)


def caption_scenes(scenes: Scenes, *, look: bool) -> list[str]:
    """Return the caption of each scene, with or without the words of its look."""
    return [describe_scene(scenes, row, look=look) for row in range(len(scenes))]


def read_accuracy(images: Images, scenes: Scenes) -> dict[str, float]:
    """Return the share of images of which the shipped classifier reads each attribute of the scene."""
    predictions = load_classifier()(images)
    labels = attribute_labels(scenes)
    return {name: round((predictions[name] == label).float().mean().item(), 3) for name, label in labels.items()}


def measure_progress(
    stage: UnetStage, scenes: Scenes, seed: int, samplers: Samplers, guidance: float
) -> dict[str, dict[str, float]]:
    """Measure the images that each sampler draws of the scenes."""
    return {
        f"{name}, {steps} step{'s' * (steps > 1)}": read_accuracy(
            draw(stage, scenes, seed, scheduler, steps, guidance), scenes
        )
        for name, (scheduler, numbers) in samplers.items()
        for steps in numbers
    }


def measure_reading(stage: UnetStage, scenes: Scenes, seed: int) -> dict[str, dict[str, float]]:
    """Measure the images of the default sampler by the blocks that read the words of the look."""
    [(scheduler, [steps])] = SHARE_SAMPLERS.values()
    outside = OutsideBlocks(stage.module.unet, [STYLE_BLOCK])
    plain, _ = stage.clip.encode_text(caption_scenes(scenes, look=False))
    everywhere = torch.ones(len(scenes), dtype=torch.bool)
    arms: dict[str, tuple[bool, AbstractContextManager[None]]] = {
        "none": (False, nullcontext()),
        f"only `{STYLE_BLOCK}`": (True, outside(partial(exchange_words, states=plain, rows=everywhere))),
        "all": (True, nullcontext()),
    }
    readings = {}
    for name, (with_look, reading) in arms.items():
        with reading:
            images = draw(stage, scenes, seed, scheduler, steps, with_look=with_look)
        readings[name] = read_accuracy(images, scenes)
    return readings


def measure_shares(stage: UnetStage, scenes: Scenes, seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Measure the means of the stages `unet` and `adversarial`."""
    readings = {}
    for share in SHARES:
        stage.module.unet.load_state_dict(adversarial_unet_weights(folder, share))
        [readings[f"{share:.0%}"]] = measure_progress(stage, scenes, seed, SHARE_SAMPLERS, guidance=1.0).values()
    return readings


def measure_rendered(stage: UnetStage, scenes: Scenes, seed: int) -> dict[str, dict[str, float]]:
    """Measure the rendered images of the scenes, also after the autoencoder: no UNet draws better ones."""
    images = scenes.render(IMAGE_SIZE, seeded_generator(seed))
    decoded = stage.codec.decode(stage.codec.encode(images))
    return {RENDERED: read_accuracy(images, scenes), DECODED: read_accuracy(decoded, scenes)}


def measure_parts(parts: Sequence[str], folder: Path, images: int, seed: int) -> dict[str, Any]:
    """Measure the named parts of the results with the states of a folder."""
    stage, scenes = UnetStage(folder), sample_scenes(images, seeded_generator(seed), MINI_SCOPE)
    measured = {}
    if "stages" in parts:
        load_averaged_module(stage, folder)
        measured["stages"] = measure_progress(stage, scenes, seed, SAMPLERS, GUIDANCE)
        measured["stages"] |= measure_rendered(stage, scenes, seed)
    if "shares" in parts:
        load_averaged_module(stage, folder)
        measured["shares"] = measure_shares(stage, scenes, seed, folder)
    load_latest_unet(stage, folder)
    if "steps" in parts:
        measured["steps"] = measure_progress(stage, scenes, seed, FEW_STEP_SAMPLERS, guidance=1.0)
    if "reading" in parts:
        measured["reading"] = measure_reading(stage, scenes, seed)
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the states of a folder and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="part", help=f"of {', '.join(PARTS)}")
    parser.add_argument("-o", "--output", type=Path, required=True, help="results, of which the parts are replaced")
    parser.add_argument("--folder", type=Path, default=Path("build/mini"))
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(arguments)
    settings = dict(images=args.images, seed=args.seed, guidance=GUIDANCE)
    before = json.loads(args.output.read_text()) if args.output.exists() else {}
    if before and before["settings"] != settings:
        parser.error(f"{args.output} was measured with {before['settings']}; choose another file")
    measured = measure_parts(args.parts, args.folder, args.images, args.seed)
    args.output.write_text(json.dumps(before | {"settings": settings} | measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
