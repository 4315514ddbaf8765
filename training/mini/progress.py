"""Measure what the UNet in training draws: how often the shipped classifier reads what the caption says.

    python -m training.mini.restore      # if there are no training states
    python -m training.mini.progress -o training/mini/results/progress.json

Samplers and numbers of steps are compared, with guidance for the UNet of stage `unet`, and without for the shipped one
if stage `adversarial` is trained, of whose share in its weights several are compared. The same scenes, rendered, show
how often the classifier is right.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, LCMScheduler

from instantstyle.metrics import attribute_labels, load_classifier
from instantstyle.synthetic import MINI_SCOPE, Scenes, describe_scene, sample_scenes
from training.mini.device import seeded_generator
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
from training.mini.unet import UnetStage, find_latest_unet, latest_unet_weights, load_latest_unet
from training.mini.vae import Images

GUIDANCE = 3.0
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
"""Of the mean of the stages `unet` and `adversarial`."""

SHARES: Sequence[float] = (0.0, 0.5, 0.8, 0.9, 1.0)
"""Of stage `adversarial` in that mean."""

SHARE_SAMPLERS: Samplers = {"LCM": (LCMScheduler(**FEW_STEP_SAMPLER), [4])}
"""With which the shares are compared."""


@torch.no_grad()
def draw(stage: UnetStage, scenes: Scenes, seed: int, scheduler: Any, steps: int, guidance: float) -> Images:
    """Draw scenes from their full captions, with classifier-free guidance if `guidance` is not 1."""
    count, latent_size = len(scenes), IMAGE_SIZE // LATENT_SCALE
    captions = [describe_scene(scenes, row, look=True) for row in range(count)]
    text = stage.clip.encode_text(captions)
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


def measure_rendered(stage: UnetStage, scenes: Scenes, seed: int) -> dict[str, dict[str, float]]:
    """Measure the rendered images of the scenes, also after the autoencoder: no UNet draws better ones."""
    images = scenes.render(IMAGE_SIZE, seeded_generator(seed))
    decoded = stage.codec.decode(stage.codec.encode(images))
    return {RENDERED: read_accuracy(images, scenes), DECODED: read_accuracy(decoded, scenes)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the states of a folder and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("build/mini"))
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(arguments)
    stage, scenes = UnetStage(args.folder), sample_scenes(args.images, seeded_generator(args.seed), MINI_SCOPE)
    load_averaged_module(stage, args.folder)
    rendered = measure_rendered(stage, scenes, args.seed)
    results: dict[str, Any] = dict(
        settings=dict(images=args.images, seed=args.seed, guidance=GUIDANCE),
        read=measure_progress(stage, scenes, args.seed, SAMPLERS, GUIDANCE) | rendered,
    )
    if find_latest_unet(args.folder) == "adversarial":
        unet = load_latest_unet(stage, args.folder)
        results["few_steps"] = measure_progress(stage, scenes, args.seed, FEW_STEP_SAMPLERS, guidance=1.0)
        results["shares"] = {}
        for share in SHARES:
            unet.load_state_dict(latest_unet_weights(args.folder, share))
            [found] = measure_progress(stage, scenes, args.seed, SHARE_SAMPLERS, guidance=1.0).values()
            results["shares"][f"{share:.0%}"] = found
    args.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
