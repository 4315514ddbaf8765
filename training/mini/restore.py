"""The shipped model → stages' states, so that training goes on from what the package holds.

    python -m training.mini.begin

Writes states without an optimiser's memory, with the counts of `results/training.json`; their minutes begin
anew. The towers' helping heads do not ship: `vision` and `text` begun so learn them anew. Nor does `vae`:
`vae-full` begins with what `decoder` made of it; trained further it moves the latents, so `unet` must follow.
Where the world has grown since, words and kinds that the model knew keep what it knew of them.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from instantstyle.metrics import SyntheticClassifier
from training.mini.adapter import installed
from training.mini.clip import Towers
from training.mini.text import with_heads
from training.mini.words import tokenizer

Weights = Mapping[str, Tensor]
Rows = Sequence[tuple[int, int]]  # where a row was, and where it goes


def shipped(package: Path) -> dict[str, Weights]:
    """Stage → the weights that ship of it."""
    model = package / "models" / "mini"
    unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32)
    seen = towers(model)
    drawn, seeing = dict(unet.state_dict()), seen.state_dict()
    return {
        "vae-full": AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32).state_dict(),
        "clip": seeing,
        "vision": seeing,
        "text": with_heads(seen).state_dict(),
        "unet": drawn,
        "adapter": installed(unet, adapter(model / "ip-adapter_mini.safetensors")).state_dict(),
        "judge": grown(floats(package / "metrics" / "judge.safetensors"), SyntheticClassifier()),
    }


def towers(model: Path) -> Towers:
    found = Towers()
    image = CLIPVisionModelWithProjection.from_pretrained(model / "image_encoder", torch_dtype=torch.float32)
    first = CLIPTextModel.from_pretrained(model / "text_encoder", torch_dtype=torch.float32)
    second = CLIPTextModelWithProjection.from_pretrained(model / "text_encoder_2", torch_dtype=torch.float32)
    found.vision.load_state_dict(image.state_dict())
    pieces = same_pieces(CLIPTokenizer.from_pretrained(model / "tokenizer"), tokenizer())
    plain = found.text_1.text_model
    plain.load_state_dict(grown(first.state_dict(), plain, pieces))
    found.text_2.load_state_dict(grown(second.state_dict(), found.text_2, pieces))
    return found


def same_pieces(old: CLIPTokenizer, new: CLIPTokenizer) -> Rows:
    """The numbers, in both vocabularies, of the pieces that are in both."""
    numbers = new.get_vocab()
    return [(number, numbers[piece]) for piece, number in old.get_vocab().items() if piece in numbers]


def grown(weights: Weights, module: nn.Module, pieces: Rows = ()) -> dict[str, Tensor]:
    """The weights in the module's shapes: rows of new kinds and new pieces are the module's own.

    The world's lists only grow at their ends, but a vocabulary is sorted anew.
    """
    found = {}
    for name, own in module.state_dict().items():
        moved = pieces if "token_embedding" in name else [(row, row) for row in range(len(weights[name]))]
        before, after = zip(*moved, strict=True)
        found[name] = own.index_copy(0, torch.tensor(after), weights[name][list(before)])
    return found


def adapter(file: Path) -> dict[str, dict[str, Tensor]]:
    """The standard file's two halves."""
    halves: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, weight in floats(file).items():
        half, _, rest = name.partition(".")
        halves[half][rest] = weight
    return halves


def floats(file: Path) -> dict[str, Tensor]:
    return {name: weight.float() for name, weight in load_file(file).items()}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("build/mini"))
    parser.add_argument("--package", type=Path, default=Path("src/instantstyle"))
    args = parser.parse_args(words)
    args.folder.mkdir(parents=True, exist_ok=True)
    trained = json.loads((Path(__file__).parent / "results" / "training.json").read_text())
    for name, weights in shipped(args.package).items():
        if not (earlier := trained.get(name)):
            continue  # never trained, so what ships has nothing of it to go on from
        seen = sum(leg["images"] for leg in earlier)
        state = dict(module=weights, averaged=weights, images=seen, seconds=0.0, earlier=earlier)
        torch.save(state, args.folder / f"{name}.pt")


if __name__ == "__main__":
    main()
