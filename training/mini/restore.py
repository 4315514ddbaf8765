"""Restore training states from the shipped model and from the states of `training.mini.checkpoint`, to go on.

    python -m training.mini.restore

Writes states without the optimiser's moments, with the counts of `results/training.json` and with no minutes
spent. The auxiliary heads of the UNet and of the first text encoder's shapes are not shipped: `text` and `unet` learn
them anew, as do the stages `adversarial` their discriminators. Where these stages were trained, `unet` and `adapter`
have their weights. The state of `vae` has the decoder of stage `decoder`; training it further changes the latents, so
that `unet` must be trained again. Where the synthetic dataset has new words and classes, weights of the known
ones are kept. A network of another architecture than that of `settings.py` is not restored, which is printed.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from math import isqrt
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from instantstyle.metrics import SyntheticClassifier
from training.mini.adapter import AdapterWeights, install_adapter
from training.mini.captions import build_tokenizer
from training.mini.checkpoint import STATES, read_checkpoint
from training.mini.clip import HEADS, ClipModels
from training.mini.discriminator import LatentDiscriminator
from training.mini.nested_unet import NestedUNet
from training.mini.text import build_text_module
from training.mini.vae import VaeStage

Weights = Mapping[str, Tensor]
RowPairs = Sequence[tuple[int, int]]
"""Pairs of a row's old and new number."""


def load_shipped_weights(package: Path) -> dict[str, Weights]:
    """Load the weights of the stages that the package ships.

    Args:
        package: Folder of the package `instantstyle`.

    Returns:
        Weights by the name of their stage; a stage whose network has another architecture now is missing, and so
        are the stages that are trained on it.
    """
    model = package / "models" / "mini"
    vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32)
    unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32)
    models, nested = load_encoders(model), NestedUNet()
    encoder_weights = models.state_dict()
    shipped: dict[str, Weights] = {
        "clip": encoder_weights,
        "vision": encoder_weights,
        "text": build_text_module(models).state_dict(),
        "classifier": extend_weights(
            load_float32(package / "metrics" / "classifier.safetensors"), SyntheticClassifier()
        ),
    }
    if has_same_shapes(vae, VaeStage().module):
        shipped["vae"] = vae.state_dict()
    if "vae" in shipped and has_same_shapes(unet, nested.unet):
        nested.unet.load_state_dict(unet_weights := unet.state_dict())
        adapter = install_adapter(unet, load_adapter(model / "ip-adapter_mini.safetensors"))
        controlnet = ControlNetModel.from_pretrained(model / "controlnet", torch_dtype=torch.float32)
        shipped |= {
            "unet": nested.state_dict(),
            "adapter": adapter.state_dict(),
            "controlnet": controlnet.state_dict(),
        }
        # Discriminators are not shipped.
        new = LatentDiscriminator().state_dict()
        shipped |= {
            "adversarial": join_weights(unet=unet_weights, discriminator=new),
            "adversarial-adapter": join_weights(adapter=shipped["adapter"], discriminator=new),
            "distilled": join_weights(unet=unet_weights),
            "distilled-adapter": shipped["adapter"],
        }
    return shipped


def join_weights(**parts: Weights) -> Weights:
    """Return the weights of a module of the given parts."""
    return {f"{part}.{name}": weight for part, weights in parts.items() for name, weight in weights.items()}


def has_same_shapes(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two networks have the same weights by name and shape."""
    shapes = [{name: weight.shape for name, weight in each.state_dict().items()} for each in (one, other)]
    return shapes[0] == shapes[1]


def load_encoders(model: Path) -> ClipModels:
    """Load the shipped image and text encoders, and the auxiliary heads where `training.mini.export` wrote them."""
    models = ClipModels()
    image = CLIPVisionModelWithProjection.from_pretrained(model / "image_encoder", torch_dtype=torch.float32)
    first = CLIPTextModel.from_pretrained(model / "text_encoder", torch_dtype=torch.float32)
    second = CLIPTextModelWithProjection.from_pretrained(model / "text_encoder_2", torch_dtype=torch.float32)
    models.vision.load_state_dict(resize_patches(image.state_dict(), models.vision))
    tokens = match_tokens(CLIPTokenizer.from_pretrained(model / "tokenizer"), build_tokenizer())
    text_model = models.text_1.text_model
    text_model.load_state_dict(extend_weights(first.state_dict(), text_model, tokens))
    models.text_2.load_state_dict(extend_weights(second.state_dict(), models.text_2, tokens))
    if HEADS.exists():
        models.load_state_dict(extend_weights(load_float32(HEADS), models))
    return models


def resize_patches(weights: Weights, vision: nn.Module) -> Weights:
    """Adapt weights of an image encoder to patches of another size.

    What the encoder reads of plain areas stays the same; it has to learn what is in the patches.

    Args:
        weights: Weights of the encoder before.
        vision: The encoder with patches of the new size, for images of the same size.

    Returns:
        Weights in the shapes of `vision`.
    """
    patches, positions = (f"vision_model.embeddings.{kind}_embedding.weight" for kind in ("patch", "position"))
    kernels, side = weights[patches], vision.get_parameter(patches).shape[-1]
    if kernels.shape[-1] == side:
        return weights
    area = (kernels.shape[-1] / side) ** 2
    first, grid = weights[positions].split([1, len(weights[positions]) - 1])
    maps = grid.T.unflatten(1, (isqrt(len(grid)),) * 2)[None]
    new_side = isqrt(len(vision.get_parameter(positions)) - 1)
    resized = F.interpolate(maps, new_side, mode="bilinear")[0].flatten(1).T
    return {
        **weights,
        patches: F.interpolate(kernels, side, mode="area") * area,
        positions: torch.cat([first, resized]),
    }


def match_tokens(old: CLIPTokenizer, new: CLIPTokenizer) -> RowPairs:
    """Return the ids, in both vocabularies, of the tokens that are in both."""
    ids = new.get_vocab()
    return [(number, ids[token]) for token, number in old.get_vocab().items() if token in ids]


def extend_weights(weights: Weights, module: nn.Module, tokens: RowPairs = ()) -> dict[str, Tensor]:
    """Adapt weights to a module with more classes, tokens, inputs of a layer, or layers.

    New rows and layers are the module's own; new columns, which follow the earlier ones, are zeros, so that the
    outputs do not change. Lists of the synthetic dataset grow at their ends only, whereas a vocabulary is sorted.

    Args:
        weights: Weights of the smaller module.
        module: The larger module, in its initial state.
        tokens: Old and new rows of token embeddings.

    Returns:
        Weights in the shapes of `module`.
    """
    extended = {}
    for name, own in module.state_dict().items():
        if name not in weights:
            extended[name] = own
            continue
        rows = tokens if "token_embedding" in name else [(row, row) for row in range(len(weights[name]))]
        before, after = zip(*rows, strict=True)
        known = weights[name][list(before)]
        if known.dim() == 2:
            known = F.pad(known, (0, own.shape[1] - known.shape[1]))
        extended[name] = own.index_copy(0, torch.tensor(after), known)
    return extended


def load_adapter(file: Path) -> AdapterWeights:
    """Load a standard adapter file as its two parts."""
    parts: AdapterWeights = {"image_proj": {}, "ip_adapter": {}}
    for name, weight in load_float32(file).items():
        part, _, rest = name.partition(".")
        parts[part][rest] = weight
    return parts


def load_float32(file: Path) -> dict[str, Tensor]:
    """Load a safetensors file in float32."""
    return {name: weight.float() for name, weight in load_file(file).items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a state for every shipped stage that has been trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build/mini"), help="folder of the states")
    parser.add_argument("--package", type=Path, default=Path("src/instantstyle"))
    parser.add_argument("--states", type=Path, default=STATES, help="folder of the files of training.mini.checkpoint")
    args = parser.parse_args(arguments)
    args.folder.mkdir(parents=True, exist_ok=True)
    trained = json.loads((Path(__file__).parent / "results" / "training.json").read_text())
    shipped = load_shipped_weights(args.package)
    files = sorted(args.states.glob("*.safetensors"))
    later = {name: state for file in files for name, state in read_checkpoint(file).items()}
    for name, state in later.items():
        torch.save(state, args.folder / f"{name}.pt")
    for name in ("vae", "unet", "adapter", "controlnet"):
        if name not in shipped and name not in later:
            print(f"{name}: the shipped network has another architecture than settings.py; it is not restored.")
    for name, weights in shipped.items():
        if name in later or not (earlier := trained.get(name)):
            continue  # trained further, or never: the package has no weights of its own for that stage
        images = sum(leg["images"] for leg in earlier)
        state = dict(module=weights, averaged=weights, images=images, seconds=0.0, earlier=earlier)
        torch.save(state, args.folder / f"{name}.pt")


if __name__ == "__main__":
    main()
