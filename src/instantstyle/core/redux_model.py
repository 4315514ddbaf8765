"""`ReduxModel`: FLUX.1 Redux, which computes tokens for FLUX.1's text from the patch features of an image."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import CheckpointError
from ..imaging.loading import ImageLike, check_crop, decode_and_hash, open_reference
from ..loaders.projection_config import infer_sizes
from ..loaders.state_dict import StateDictSource, open_state_dict
from ..loaders.weight_files import find_redux
from ..recipe_types import Crop, Reference
from ..utils.text import shorten
from .image_encoder import ImageEncoder

_SHAPES = {
    "redux_up.weight": "hidden dim",
    "redux_up.bias": "hidden",
    "redux_down.weight": "width hidden",
    "redux_down.bias": "width",
}

Tokens = Float[Tensor, "tokens width"]


@dataclass(frozen=True, eq=False)
class ReduxModel:
    """The weights of Redux (black-forest-labs/FLUX.1-Redux-dev), and the image encoder whose features it reads."""

    weights: Mapping[str, Tensor]
    """In float32, on the CPU."""
    encoder: ImageEncoder
    file: Reference | None = None
    """The file of the weights with its SHA-256; None for weights in memory."""
    encoder_name: str | None = None
    """Folder or file of the encoder; None for a model in memory."""

    @classmethod
    def open(cls, redux: StateDictSource, image_encoder: object) -> "ReduxModel":
        """Read the weights, and open the image encoder.

        Args:
            redux: A file, a folder of FLUX.1-Redux-dev in diffusers' layout, its hub id, or a state dict.
            image_encoder: SigLIP SO400M/14-384: a model, or its file or folder.

        Raises:
            CheckpointError: The weights are others than Redux', do not fit the encoder, or cannot be read.
            ModelError: There are no such weights, or they have numbers that are not finite.
        """
        encoder = ImageEncoder.open(image_encoder)
        name = str(image_encoder) if isinstance(image_encoder, str | Path) else None
        if not isinstance(redux, str | Path):
            return cls(read_redux(redux, encoder), encoder, None, name)
        contents = find_redux(redux).read()
        weights = read_redux(contents.tensors, encoder, shorten(str(redux)))
        return cls(weights, encoder, Reference(name=str(redux), sha256=contents.sha256), name)

    def encode(self, image: ImageLike, crop: Crop = "center") -> "tuple[Tokens, ReduxSource]":
        """Compute the tokens of an image.

        Args:
            image: An image, its file or bytes.
            crop: How it is made square; diffusers' own is `"squash"`.

        Returns:
            One token for each patch, and what they were computed from.

        Raises:
            ImageError: The image cannot be read.
        """
        check_crop(crop)
        file: Reference | None = None
        if isinstance(image, str | Path):
            opened, digest = decode_and_hash(image, open_reference)
            file = Reference(name=str(image), sha256=digest)
        else:
            opened = open_reference(image, "reference")
        tokens = self.compute_tokens(opened, crop)
        return tokens, ReduxSource(tokens, file, self.file, self.encoder_name, crop)

    def compute_tokens(self, image: Image.Image, crop: Crop = "center") -> Tokens:
        """Compute one token for each patch of an image."""
        return redux_tokens(self.weights, self.encoder.last_features([image], crop)[0])


@dataclass(frozen=True, eq=False)
class ReduxSource:
    """What tokens of Redux were computed from, for recipes. What is not a file is None."""

    tokens: Tokens = field(repr=False)
    image: Reference | None
    weights: Reference | None
    encoder_name: str | None
    crop: Crop

    @property
    def is_named(self) -> bool:
        """Whether a recipe can name all of it."""
        return None not in (self.image, self.weights, self.encoder_name)


@torch.no_grad()
def redux_tokens(weights: Mapping[str, Tensor], features: Float[Tensor, "patches dim"]) -> Tokens:
    """Compute W_down silu(W_up x + b_up) + b_down, one token for each patch (diffusers' `ReduxImageEncoder`)."""
    hidden = F.silu(F.linear(features, weights["redux_up.weight"], weights["redux_up.bias"]))
    return F.linear(hidden, weights["redux_down.weight"], weights["redux_down.bias"])


def read_redux(source: StateDictSource, encoder: ImageEncoder, name: str = "The state dict") -> dict[str, Tensor]:
    """Read Redux' weights, in float32.

    Args:
        source: The weights.
        encoder: The image encoder whose features they must read.
        name: Name of the weights in error messages.

    Raises:
        CheckpointError: They cannot be read, are others than Redux' or no floating-point numbers, or read features of
            another width or kind of encoder.
    """
    tensors = open_state_dict(source)
    sizes = check_redux_shapes(tensors.shapes, name)
    tensors.check_floating(_SHAPES, name)
    if not encoder.is_siglip:
        raise CheckpointError(
            f"{name} reads patch features of a SigLIP, and {encoder.name} is a CLIP; use SigLIP SO400M/14-384, with "
            "which Redux was trained."
        )
    if sizes["dim"] != encoder.hidden_size:
        raise CheckpointError(
            f"{name} reads patch features of width {sizes['dim']}, and {encoder.name} has {encoder.hidden_size}; use "
            "SigLIP SO400M/14-384, with which Redux was trained."
        )
    return {tensor: tensors.read(tensor).float() for tensor in _SHAPES}


def check_redux_shapes(shapes: Mapping[str, tuple[int, ...]], name: str) -> Mapping[str, int]:
    """Check that tensors are those of Redux.

    Args:
        shapes: Shapes by name.
        name: Name of the weights in error messages.

    Returns:
        Width of the features (`dim`), of the hidden layer (`hidden`) and of the tokens (`width`).

    Raises:
        CheckpointError: They are others.
    """
    if shapes.keys() != _SHAPES.keys():
        raise CheckpointError(f"{name} is not FLUX.1 Redux, which has {', '.join(_SHAPES)}.")
    sizes = infer_sizes(_SHAPES, shapes)
    for tensor, words in _SHAPES.items():
        shape = list(shapes[tensor])
        if shape != [sizes.get(word) for word in words.split()]:
            raise CheckpointError(f"{name} has {tensor} of {shape}, which does not fit its other tensors.")
    return sizes
