"""Training states as small files, from which training goes on elsewhere: averaged weights without the optimisers.

    python -m training.mini.checkpoint vae unet-16      # states of build/mini into training/mini/states
    python -m training.mini.restore                     # and back, beside the shipped model

Weights of a UNet have eight bits, with a scale for each row: a fifth of the size of a state without its optimisers, at
a loss that a few steps of training make up. Other networks keep half precision, as the latents of an autoencoder may
not change under the UNet that is trained on them.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int8
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.mini.stage import list_legs, load_state
from training.mini.stages import STAGES
from training.mini.unet import LEVELS

STATES = Path(__file__).parent / "states"
"""Folder of the files."""

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


def write_checkpoint(state: Mapping[str, Any], file: Path, *, eight_bits: bool) -> None:
    """Write the averaged weights of a state, and the legs of its training.

    Args:
        state: As `Run.save` writes it.
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
    metadata = {"legs": json.dumps(list_legs(dict(state)))}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, metadata)


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read a file of `write_checkpoint` as a state without optimisers, with no minutes spent."""
    with safe_open(file, framework="pt") as opened:
        names = [*opened.keys()]
        tensors = {name: opened.get_tensor(name) for name in names}
        legs = json.loads(opened.metadata()["legs"])
    weights = {name: tensor.float() for name, tensor in tensors.items() if not name.endswith(SCALE)}
    for name, weight in weights.items():
        if (scale := tensors.get(name + SCALE)) is not None:
            weights[name] = weight * expand(scale, weight)
    images = sum(leg["images"] for leg in legs)
    return dict(module=weights, averaged=weights, images=images, seconds=0.0, earlier=legs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the states of the named stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=[*STAGES], metavar="stage")
    parser.add_argument("--folder", type=Path, default=Path("build/mini"), help="folder of the states")
    parser.add_argument("--target", type=Path, default=STATES, help="folder of the files")
    args = parser.parse_args(arguments)
    for name in args.stages:
        file = args.target / f"{name}.safetensors"
        write_checkpoint(load_state(args.folder / f"{name}.pt"), file, eight_bits=name in LEVELS)
        print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
