"""Training states as small files, from which training goes on elsewhere: averaged weights without the optimisers.

    python -m training.mini.checkpoint vae unet-16      # states of build/mini into training/mini/states
    python -m training.mini.restore                     # and back, beside the shipped model

Weights of a UNet, and of the networks that only train it, have eight bits, with a scale for each row: a fifth of the
size of a state without its optimisers, at a loss that a few steps of training make up. Other networks keep half
precision, as the latents of an autoencoder may not change under the UNet that is trained on them.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int8
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.mini.stage import Leg, list_legs, load_state
from training.mini.stages import STAGES
from training.mini.unet import LEVELS

STATES = Path(__file__).parent / "states"
"""Folder of the files."""

EIGHT_BITS = {*LEVELS, "guide", "adversarial", "distilled"}
"""Stages whose weights have eight bits."""

SCALE = ".scale"
"""Suffix of the name of the scales of a weight of eight bits."""


def quantise(weight: Float[Tensor, "row ..."]) -> tuple[Int8[Tensor, "row ..."], Float[Tensor, " row"]]:
    """Round a weight to eight bits.

    Args:
        weight: A weight of at least two dimensions.

    Returns:
        Whole numbers in -127..127, and for each row what they are multiplied with.
    """
    scale = weight.flatten(1).abs().amax(1).clamp(min=1e-12) / 127
    return (weight / expand(scale, weight)).round().to(torch.int8), scale


def expand(scale: Float[Tensor, " row"], weight: Tensor) -> Float[Tensor, "row ..."]:
    """Give the scales of rows the dimensions of the weight."""
    return scale.view(-1, *(1,) * (weight.dim() - 1))


def write_checkpoint(
    state: Mapping[str, Any], record: Mapping[str, Sequence[Leg]], file: Path, *, eight_bits: bool
) -> None:
    """Write the averaged weights of a state, and the legs of its training.

    Args:
        state: As `Run.save` writes it.
        record: Legs by stage: its own, and those of the stages that its weights come from.
        file: The file.
        eight_bits: Whether weights of at least two dimensions have eight bits; others have half precision.
    """
    tensors: dict[str, Tensor] = {}
    for name, weight in state["averaged"].items():
        if eight_bits and weight.dim() > 1:
            tensors[name], tensors[name + SCALE] = quantise(weight)
        else:
            tensors[name] = weight.half()
    file.parent.mkdir(exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, file, {"record": json.dumps(record)})


def read_record(file: Path) -> dict[str, list[Leg]]:
    """Read the legs of training, by stage, that led to a file of `write_checkpoint`."""
    with safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()["record"])


def read_checkpoint(file: Path) -> dict[str, dict[str, Any]]:
    """Read a file of `write_checkpoint` as states without optimisers, with no minutes spent.

    Returns:
        The state by the name of its stage. The stages that its weights come from have the same weights.
    """
    tensors = load_file(file)
    weights = {name: tensor.float() for name, tensor in tensors.items() if not name.endswith(SCALE)}
    for name, weight in weights.items():
        if (scale := tensors.get(name + SCALE)) is not None:
            weights[name] = weight * expand(scale, weight)
    return {
        stage: dict(
            module=weights, averaged=weights, images=sum(leg["images"] for leg in legs), seconds=0.0, earlier=legs
        )
        for stage, legs in read_record(file).items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the states of the named stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=[*STAGES], metavar="stage")
    parser.add_argument("--folder", type=Path, default=Path("build/mini"), help="folder of the states")
    parser.add_argument("--target", type=Path, default=STATES, help="folder of the files")
    args = parser.parse_args(arguments)
    for name in args.stages:
        file = args.target / f"{name}.safetensors"
        sources = [stage for stage in LEVELS if name in LEVELS and LEVELS[stage] >= LEVELS[name]] or [name]
        states = {stage: load_state(args.folder / f"{stage}.pt") for stage in sources}
        record = {stage: list_legs(state) for stage, state in states.items()}
        write_checkpoint(states[name], record, file, eight_bits=name in EIGHT_BITS)
        print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
