"""Which parts of its network mini has come to need: the loss without each.

    python -m training.mini.begin     # where there are no states to read
    python -m training.mini.needed -o training/mini/results/needed.json

Of each down, mid and up block what the transformers add is left out, then what the resnets add as well; the
loss is taken on the same held-out scenes, noise and times. What can be left out without loss is dead weight.
How large the activations are that a part hands on tells why: a normalised layer adds little to large ones.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from training.mini.device import dice
from training.mini.frozen import placement
from training.mini.settings import PICTURE
from training.mini.stage import averaged
from training.mini.unet import FAVOUR, UnetStage

BATCH = 64  # pictures at once
PARTS = ("down_blocks.1", "down_blocks.2", "mid_block", "up_blocks.0", "up_blocks.1")
"""The parts that have transformers, in the order in which they are passed."""


def needed(stage: UnetStage, pictures: int, seed: int) -> dict[str, dict[str, float]]:
    """Part → the loss without its transformers, and without its resnets too."""
    found = {}
    for name in PARTS:
        part = stage.module.get_submodule(name)
        with without(part, "transformers"):
            found[name] = {"transformers": loss(stage, pictures, seed)}
            with without(part, "resnets"):
                found[name]["both"] = loss(stage, pictures, seed)
        print(name, found[name], flush=True)
    return found


@torch.no_grad()
def loss(stage: UnetStage, pictures: int, seed: int) -> float:
    """The mean squared error of the velocity on held-out scenes."""
    errors = []
    for start in range(0, pictures, BATCH):
        generator = dice(seed + start)
        count = min(BATCH, pictures - start)
        scenes = sample_scenes(count, generator, MINI_SCOPE, held_out=True)
        latents = stage.latents.encode(scenes.pictures(PICTURE, generator))
        words = stage.told(scenes, generator)
        times = stage.diffusion.times(count, generator, FAVOUR)
        where = placement(scenes, PICTURE, torch.zeros(count, dtype=torch.bool))
        predicted, wanted = stage.predict(latents, words, times, generator, where)
        errors.append((predicted - wanted).pow(2).mean((1, 2, 3)))
    return round(torch.cat(errors).mean().item(), 4)


def handed_on(stage: UnetStage, pictures: int, seed: int) -> dict[str, float]:
    """Part → the root mean square of what it hands on; of the first convolution, too."""
    found: dict[str, list[Tensor]] = {"conv_in": [], **{name: [] for name in PARTS}}
    with ExitStack() as hooks:
        for name, squares in found.items():

            def keep(_, given, out, squares=squares) -> None:
                hidden = out[0] if isinstance(out, tuple) else out
                squares.append(hidden.float().pow(2).mean())

            hooks.callback(stage.module.get_submodule(name).register_forward_hook(keep).remove)
        loss(stage, pictures, seed)
    return {name: round(torch.stack(squares).mean().sqrt().item(), 2) for name, squares in found.items()}


@contextmanager
def without(part: Any, kind: Literal["transformers", "resnets"]) -> Iterator[None]:
    """A block within which what such layers of the part add to what they are given is nought."""
    with ExitStack() as hooks:
        if kind == "transformers":
            for layer in part.attentions:
                hooks.callback(layer.register_forward_hook(lambda _, given, out: given[:1]).remove)
        else:  # their shortcuts stay
            for layer in part.resnets:
                hooks.callback(layer.conv2.register_forward_hook(lambda _, given, out: 0 * out).remove)
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("build/mini"))
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    stage = UnetStage(args.folder)
    averaged(stage, args.folder)
    lot = dict(pictures=args.pictures, seed=args.seed)
    result = {
        "settings": lot,
        "handed on": handed_on(stage, **lot),
        "whole": loss(stage, **lot),
        "without": needed(stage, **lot),
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
