"""Measure how much each part of mini's UNet contributes: the loss without it.

    python -m training.mini.restore     # if there are no training states
    python -m training.mini.ablation -o training/mini/results/needed.json

For each down, mid and up block with transformers, and for the deep ones together, the contribution of the transformers
is removed, then that of the resnets as well; the loss is computed on the same held-out scenes, noise and timesteps. A
part that can be removed without increasing the loss contributes nothing. The size of the activations explains why: a
normalised layer adds little to large activations.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from instantstyle.synthetic import sample_scenes
from training.mini.device import seeded_generator
from training.mini.frozen_models import size_conditioning
from training.mini.nested_unet import DEEPEST, NestedLevel
from training.mini.stage import load_averaged_module
from training.mini.unet import LEVELS, NOISE_BIAS, UnetStage, load_latest_unet

BATCH = 64  # images at once
PARTS = ("down_blocks.1", "down_blocks.2", "mid_block", "up_blocks.0", "up_blocks.1")
"""The parts with transformers, in the order of the forward pass."""

DEEP = PARTS[1:4]
"""Those of the deepest level."""


def measure_ablations(stage: UnetStage, images: int, seed: int) -> dict[str, dict[str, float]]:
    """Measure the loss of the UNet without each part.

    Args:
        stage: Stage with trained weights.
        images: Number of held-out images.
        seed: Seed of scenes, noise and timesteps.

    Returns:
        For each part, and for the `deep` ones together, the loss without its `transformers`, and without `both`
        transformers and resnets.
    """
    losses = {}
    for name, parts in {**{part: [part] for part in list_parts(stage)}, "deep": [*DEEP]}.items():
        modules = [stage.module.unet.get_submodule(part) for part in parts]
        with ExitStack() as removed:
            for module in modules:
                removed.enter_context(without_layers(module, "transformers"))
            losses[name] = {"transformers": measure_loss(stage, images, seed)}
            for module in modules:
                removed.enter_context(without_layers(module, "resnets"))
            losses[name]["both"] = measure_loss(stage, images, seed)
        print(name, losses[name], flush=True)
    return losses


def list_parts(stage: UnetStage) -> list[str]:
    """List the parts that the UNet has at the level of a stage."""
    return [*DEEP] if stage.level == DEEPEST else [*PARTS]


@torch.no_grad()
def measure_loss(stage: UnetStage, images: int, seed: int) -> float:
    """Return the mean squared error of the velocity on held-out scenes."""
    errors, network = [], NestedLevel(stage.module, stage.level)
    for start in range(0, images, BATCH):
        generator = seeded_generator(seed + start)
        count = min(BATCH, images - start)
        scenes = sample_scenes(count, generator, stage.scope, held_out=True)
        latents = stage.codec.encode(scenes.render(stage.size, generator))
        states, pooled = stage.encode_captions(scenes, generator)
        timesteps = stage.diffusion.sample_timesteps(count, generator, NOISE_BIAS)
        sizes = size_conditioning(scenes, stage.size, torch.zeros(count, dtype=torch.bool))
        noisy, target = stage.diffusion.add_noise(latents, timesteps, generator)
        predicted = network(noisy, timesteps, states, pooled, sizes, torch.ones(count, dtype=torch.bool))[0]
        errors.append((predicted - target).pow(2).mean((1, 2, 3)))
    return round(torch.cat(errors).mean().item(), 4)


def measure_activations(stage: UnetStage, images: int, seed: int) -> dict[str, float]:
    """Return the root mean square of the output of each part and of the first convolution."""
    first = ["conv_in"] if stage.level == 0 else []
    squares: dict[str, list[Tensor]] = {name: [] for name in (*first, *list_parts(stage))}
    with ExitStack() as hooks:
        for name, values in squares.items():

            def record(_: object, inputs: object, out: Any, values: list[Tensor] = values) -> None:
                hidden = out[0] if isinstance(out, tuple) else out
                values.append(hidden.float().pow(2).mean())

            hooks.callback(stage.module.unet.get_submodule(name).register_forward_hook(record).remove)
        measure_loss(stage, images, seed)
    return {name: round(torch.stack(values).mean().sqrt().item(), 2) for name, values in squares.items()}


@contextmanager
def without_layers(part: Any, kind: Literal["transformers", "resnets"]) -> Iterator[None]:
    """Remove the contribution of one kind of layer of a part to its input, for the `with` block."""
    with ExitStack() as hooks:
        if kind == "transformers":
            for layer in part.attentions:
                hooks.callback(layer.register_forward_hook(lambda _, inputs, out: inputs[:1]).remove)
        else:  # their shortcuts stay
            for layer in part.resnets:
                hooks.callback(layer.conv2.register_forward_hook(lambda _, inputs, out: 0 * out).remove)
        yield


def main() -> None:
    """Measure all parts and write the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--stage", choices=[*LEVELS], default="unet", help="whose UNet and images are measured")
    parser.add_argument("--folder", type=Path, default=Path("build/mini"), help="folder of the states")
    parser.add_argument("--pictures", type=int, default=512, help="number of held-out images")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    stage = UnetStage(args.folder, args.stage)
    if args.stage == "unet":
        load_latest_unet(stage, args.folder)
    else:
        load_averaged_module(stage, args.folder)
    result = {
        "settings": dict(stage=args.stage, pictures=args.pictures, seed=args.seed),
        "handed on": measure_activations(stage, args.pictures, args.seed),
        "whole": measure_loss(stage, args.pictures, args.seed),
        "without": measure_ablations(stage, args.pictures, args.seed),
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
