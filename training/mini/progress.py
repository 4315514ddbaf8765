"""Measure what the UNet in training draws: how often the shipped classifier reads what the caption says.

    python -m training.mini.restore      # if there are no training states
    python -m training.mini.progress -o training/mini/results/progress.json

Samplers and numbers of steps are compared. The same scenes, rendered, show how often the classifier is right.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from instantstyle.metrics import attribute_labels, load_classifier
from instantstyle.synthetic import MINI_SCOPE, Scenes, describe_scene, sample_scenes
from training.mini.device import seeded_generator
from training.mini.frozen_models import size_conditioning
from training.mini.settings import IMAGE_SIZE, LATENT_CHANNELS, LATENT_SCALE, SAMPLER, SCHEDULE
from training.mini.stage import load_averaged_module
from training.mini.unet import UnetStage
from training.mini.vae import Images

GUIDANCE = 3.0
RENDERED = "rendered scenes"
SAMPLERS: dict[str, tuple[Any, Sequence[int]]] = {
    "DDIM": (DDIMScheduler(**SCHEDULE, clip_sample=False), [20]),  # latents are not images, which are clipped
    "DPM-Solver++ (2M)": (DPMSolverMultistepScheduler(**SCHEDULE), [8, 20]),
    "SDE-DPM-Solver++ (2M)": (DPMSolverMultistepScheduler(**SAMPLER), [4, 8, 12, 20]),
}
"""Schedulers of diffusers, and the numbers of steps with which each one is measured."""


@torch.no_grad()
def draw(stage: UnetStage, scenes: Scenes, seed: int, scheduler: Any, steps: int) -> Images:
    """Draw scenes from their full captions, with classifier-free guidance."""
    count, latent_size = len(scenes), IMAGE_SIZE // LATENT_SCALE
    captions = [describe_scene(scenes, row, look=True) for row in range(count)]
    text = [torch.cat([part, torch.zeros_like(part)]) for part in stage.clip.encode_text(captions)]
    sizes = size_conditioning(scenes, IMAGE_SIZE, torch.zeros(count, dtype=torch.bool)).repeat(2, 1)
    generator = seeded_generator(seed)
    latents = torch.randn(count, LATENT_CHANNELS, latent_size, latent_size, generator=generator)
    scheduler.set_timesteps(steps)
    for timestep in scheduler.timesteps:
        velocity = stage.network(latents.repeat(2, 1, 1, 1), timestep.repeat(2 * count), *text, sizes)
        with_text, without = velocity.chunk(2)
        guided = without + GUIDANCE * (with_text - without)
        latents = scheduler.step(guided, timestep, latents, generator=generator).prev_sample
    return stage.codec.decode(latents)


def read_accuracy(images: Images, scenes: Scenes) -> dict[str, float]:
    """Return the share of images of which the shipped classifier reads each attribute of the scene."""
    predictions = load_classifier()(images)
    labels = attribute_labels(scenes)
    return {name: round((predictions[name] == label).float().mean().item(), 3) for name, label in labels.items()}


def measure_progress(stage: UnetStage, images: int, seed: int) -> dict[str, dict[str, float]]:
    """Measure the images that each sampler draws, and the rendered ones of the same scenes."""
    scenes = sample_scenes(images, seeded_generator(seed), MINI_SCOPE)
    drawn = {
        f"{name}, {steps} steps": read_accuracy(draw(stage, scenes, seed, scheduler, steps), scenes)
        for name, (scheduler, numbers) in SAMPLERS.items()
        for steps in numbers
    }
    return {**drawn, RENDERED: read_accuracy(scenes.render(IMAGE_SIZE, seeded_generator(seed)), scenes)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the states of a folder and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("build/mini"))
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(arguments)
    stage = UnetStage(args.folder)
    load_averaged_module(stage, args.folder)
    settings = dict(images=args.images, seed=args.seed, guidance=GUIDANCE)
    results = dict(settings=settings, read=measure_progress(stage, args.images, args.seed))
    args.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
