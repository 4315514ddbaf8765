"""What a style file holds: the fields of its JSON text, and the names and shapes of its tensors, with their checks."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor

from ..recipe_types import Combine, Crop, Fuse, Removal
from ..utils.text import find_text_fault
from .bound_style import KeyValue

Fingerprint = Annotated[str, Field(pattern="^([0-9a-f]{16})?$")]
Family = Annotated[str, Field(pattern="^[a-z0-9-]+$")]


def _validate_text(text: str) -> str:
    if fault := find_text_fault(text):
        raise ValueError(f"it {fault}")
    return text


Text = Annotated[str, Field(max_length=10_000), BeforeValidator(_validate_text)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

EMBEDDINGS = ("image_embeds", "unconditional", "content_embeds", "grey_embeds")
"""Fields of a style that are tensors of their own in the file."""

TEXTURE = "texture_embeds"
"""Name of the tensor of a blend's texture."""

ContentKind = Literal["words", "image", "embedding"]
"""What an entry of a style's content is: words, the name of a picture, or an embedding that was passed."""

Half = Literal["key", "value", "key_shift", "value_shift", "norms"]

PLAIN: tuple[Half, Half] = ("key", "value")
SHIFTED: tuple[Half, Half] = ("key_shift", "value_shift")

_BOUND = re.compile(r"bound\.([a-z0-9-]+)\.(.+)\.(key|value|norms)((?<!norms)_shift)?")


class TextureMetadata(BaseModel):
    """The texture of a blend without its tensor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    weights: tuple[Weight, ...]
    colour_scale: Finite
    texture_scale: Finite


class StyleMetadata(BaseModel):
    """The JSON text of a style file, without format, version and hash; docs/style-file.md lists the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    weights: tuple[Weight, ...] = ()
    combine: Combine = "average"
    crop: Crop = "center"
    content: tuple[Text, ...] = ()
    content_scale: Finite
    removal: Removal = "subtract"
    encoder: Text = ""
    encoder_fingerprint: Fingerprint = ""
    bound: dict[Family, Fingerprint] = Field(default_factory=dict)
    """Fingerprint of the adapter that computed the keys and values, by family."""
    bound_timesteps: dict[Family, tuple[Finite, ...]] = Field(default_factory=dict)
    """Timesteps at which they were computed, of families in which they change with it."""
    mask_quantile: Annotated[float, Field(ge=0, le=1)] | None = None
    content_kinds: tuple[ContentKind, ...] = ()
    texture: TextureMetadata | None = None
    tuned_for: Fuse | None = None
    removed_from_parts: tuple[Text, ...] = ()
    author: Text = ""
    licence: Text = ""
    notes: Text = ""


NEW_IN_2: dict[str, object] = {
    **{"mask_quantile": None, "content_kinds": (), "texture": None, "tuned_for": None},
    **{"bound_timesteps": {}, "removed_from_parts": ()},
}
"""Fields that version 2 of the format added, with the value that stands for their absence."""


def needs_version_2(metadata: StyleMetadata, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a style has something that readers of version 1 do not know; other styles are written as version 1."""
    return (
        any(getattr(metadata, name) != absent for name, absent in NEW_IN_2.items())
        or metadata.removal == "cleanstyle"
        or metadata.combine == "subtract"
        or "grey_embeds" in tensors
        or any(name == "content_embeds" and x.ndim > 2 for name, x in tensors.items())
    )


def bound_name(family: str, layer: str, half: Half) -> str:
    """Return the name of a tensor of keys or values, or of their shifts."""
    return f"bound.{family}.{layer}.{half}"


def pairs_of_layers(tensors: Mapping[str, Tensor], family: str, halves: tuple[Half, Half]) -> dict[str, KeyValue]:
    """Return the keys and values of a family, or their shifts, by layer."""
    found = [match for match in map(_BOUND.fullmatch, tensors) if match and match[1] == family]
    layers = dict.fromkeys(match[2] for match in found if f"{match[3]}{match[4] or ''}" in halves)
    first, second = halves
    return {
        layer: (tensors[bound_name(family, layer, first)], tensors[bound_name(family, layer, second)])
        for layer in layers
    }


def norms_of_layers(tensors: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    """Return the weights of norms of a family by layer."""
    found = [match for match in map(_BOUND.fullmatch, tensors) if match and match[1] == family and match[3] == "norms"]
    return {match[2]: tensors[match[0]].float() for match in found}


def tensor_errors(metadata: StyleMetadata, tensors: Mapping[str, Tensor]) -> list[str]:
    """List every tensor that is missing, unknown, misshapen or not finite."""
    is_shifted = any(match and match[4] for match in map(_BOUND.fullmatch, tensors))
    cleans = metadata.removal == "clean" and metadata.content_scale != 0
    return [
        *(["removal is clean, but the keys and values are not"] if metadata.bound and cleans > is_shifted else []),
        *_name_errors(metadata, tensors),
        *_embedding_errors(metadata, tensors),
        *_bound_errors(tensors),
        *_timestep_errors(metadata, tensors),
        *(f"{name} is not finite or of a wrong dtype" for name, x in tensors.items() if not _is_sound(name, x)),
    ]


def _name_errors(metadata: StyleMetadata, tensors: Mapping[str, Tensor]) -> list[str]:
    known = {*EMBEDDINGS, TEXTURE, "thumbnail"}
    found = {name: _BOUND.fullmatch(name) for name in tensors if name not in known}
    extra = [f"extra {name}" for name, match in found.items() if not match or match[1] not in metadata.bound]
    bound = {match[1] for match in found.values() if match}
    return extra + [f"nothing bound for {family}" for family in metadata.bound if family not in bound]


def _embedding_errors(metadata: StyleMetadata, tensors: Mapping[str, Tensor]) -> list[str]:
    images, unconditional, content, grey = (tensors.get(name) for name in EMBEDDINGS)
    if images is None and unconditional is None and content is None and grey is None:
        missing = [] if metadata.bound else ["it has neither embeddings nor keys and values"]
        return missing + (["weights without embeddings"] if metadata.weights else [])
    if images is None or unconditional is None:
        return ["image_embeds and unconditional go together, and one is missing"]
    errors: list[str] = []
    if images.ndim not in (2, 3) or not images.numel() or unconditional.shape != images.shape[1:]:
        errors.append(f"image_embeds {list(images.shape)} beside unconditional {list(unconditional.shape)}")
    if len(metadata.weights) != (len(images) if images.ndim else 0):
        errors.append(f"{len(metadata.weights)} weights for image_embeds {list(images.shape)}")
    expected = (len(metadata.content), *images.shape[1:])
    if bool(metadata.content) != (content is not None) or (content is not None and content.shape != expected):
        has = "no content_embeds" if content is None else f"content_embeds {list(content.shape)}"
        errors.append(f"{has} for {len(metadata.content)} phrases")
    if len(metadata.content_kinds) not in (0, len(metadata.content)):
        errors.append(f"{len(metadata.content_kinds)} kinds for {len(metadata.content)} phrases")
    if grey is not None and grey.shape != images.shape:
        errors.append(f"grey_embeds {list(grey.shape)} beside image_embeds {list(images.shape)}")
    return [*errors, *_texture_errors(metadata, tensors, images)]


def _texture_errors(metadata: StyleMetadata, tensors: Mapping[str, Tensor], images: Tensor) -> list[str]:
    texture, embeds = metadata.texture, tensors.get(TEXTURE)
    if texture is None or embeds is None:
        return [] if texture is None and embeds is None else [f"texture and {TEXTURE} go together, and one is missing"]
    expected = [len(texture.weights), *images.shape[1:]]
    return [
        *([] if list(embeds.shape) == expected else [f"{TEXTURE} {list(embeds.shape)} instead of {expected}"]),
        *([] if "grey_embeds" in tensors else [f"{TEXTURE} without grey_embeds"]),
    ]


def _bound_errors(tensors: Mapping[str, Tensor]) -> list[str]:
    errors: list[str] = []
    for name, tensor in tensors.items():
        match = _BOUND.fullmatch(name)
        if match and match[3] == "norms":
            if tensor.ndim != 2 or len(tensor) != 2 or bound_name(match[1], match[2], "key") not in tensors:
                errors.append(f"{name} {list(tensor.shape)} is no pair of norms [2 head] of keys and values")
        elif match:
            halves = [bound_name(match[1], match[2], half) for half in (SHIFTED if match[4] else PLAIN)]
            # A shift has the shape of the key that it is added to.
            partners = [*halves, bound_name(match[1], match[2], "key")]
            shapes = {tensors[part].shape if part in tensors else None for part in partners}
            if tensor.ndim != 3 or len(tensor) != 2 or len(shapes) > 1:
                errors.append(f"{name} {list(tensor.shape)} is no half of a pair [2 tokens width]")
    return errors


def _timestep_errors(metadata: StyleMetadata, tensors: Mapping[str, Tensor]) -> list[str]:
    errors = [
        f"timesteps of {family}, which is not bound" for family in metadata.bound_timesteps.keys() - metadata.bound
    ]
    for family in metadata.bound:
        steps, norms = len(metadata.bound_timesteps.get(family, ())), norms_of_layers(tensors, family)
        found = [match for match in map(_BOUND.fullmatch, tensors) if match and match[1] == family]
        keys = {match[2]: tensors[match[0]] for match in found if match[3] == "key"}
        if bool(steps) != bool(norms) or (norms and norms.keys() != keys.keys()):
            errors.append(f"timesteps and norms of {family} go together, and some are missing")
        if steps and any(key.ndim == 3 and key.shape[1] % steps for key in keys.values()):
            errors.append(f"keys of {family} have other numbers of tokens than {steps} timesteps")
    return errors


def _is_sound(name: str, tensor: Tensor) -> bool:
    if name == "thumbnail":
        return tensor.dtype == torch.uint8 and tensor.ndim == 1
    return tensor.dtype in (torch.float16, torch.float32) and bool(tensor.isfinite().all())
