"""A style on disk: named tensors, and one JSON text that says what they are. docs/style-file.md describes it.

Reading runs no code and believes nothing: version, content hash, every field and every tensor are checked,
and what is wrong is told in one line.
"""

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open
from safetensors.torch import save as as_bytes
from torch import Tensor

from ..errors import JobError, StyleError
from ..recipe import Combine, Crop, Removal
from ..utils.atomic_write import atomic_write, check_writable
from .style_library import SUFFIX

FORMAT = "instantstyle style"
VERSION = 1

KEY = "instantstyle"
"""The one key of the safetensors metadata: several would be written in an order that changes."""

LARGEST = 256_000_000
"""Bytes: a style bound in all of SDXL's layers, with 16 references side by side, has 43 MB."""

Fingerprint = Annotated[str, Field(pattern="^([0-9a-f]{16})?$")]
Family = Annotated[str, Field(pattern="^[a-z0-9-]+$")]
Text = Annotated[str, Field(max_length=10_000)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

_BOUND = re.compile(r"bound\.([a-z0-9-]+)\.(.+)\.(key|value)(_shift)?")

Half = Literal["key", "value", "key_shift", "value_shift"]


class StyleMetadata(BaseModel):
    """What a style file says of itself, beside its tensors; each field stands in docs/style-file.md."""

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
    """Family → fingerprint of the adapter that its keys and values were made with."""
    author: Text = ""
    licence: Text = ""
    notes: Text = ""


def validate_metadata(what: object, fields: Mapping[str, Any]) -> StyleMetadata:
    """The fields, checked; `StyleError` that tells every fault of `what`."""
    try:
        return StyleMetadata.model_validate(fields)
    except ValidationError as faults:
        told = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in faults.errors())
        raise StyleError(f"{what} is no style: {_one_line(told)}.") from None


def check_destination(path: Path, *, force: bool = False) -> None:
    """`JobError` unless a style file can be written there."""
    if not path.name.endswith(SUFFIX):
        raise JobError(f"{path} should end in {SUFFIX}: by that a style is known wherever one is named.")
    check_writable(path, force=force)


def write(path: Path, imprint: StyleMetadata, tensors: Mapping[str, Tensor], *, force: bool = False) -> Path:
    """There whole or not at all; the same style is the same bytes."""
    check_destination(path, force=force)
    # Copies: safetensors refuses tensors that share their memory.
    tensors = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    fields = {"format": FORMAT, "version": VERSION, **imprint.model_dump(mode="json")}
    data = as_bytes(tensors, {KEY: _text({**fields, "sha256": _hash(fields, tensors)})})
    with atomic_write(path, force=force) as draft:
        draft.write_bytes(data)
    return path


def read(path: Path) -> tuple[StyleMetadata, dict[str, Tensor]]:
    """All that is in the file; `StyleError` in one line unless it is whole, ours and of this version."""
    _check_size(path)
    try:
        fields, tensors = _parts(path)
    # A header is JSON from anywhere: cut short, nested without end, of unknown types, it fails in many ways.
    except Exception as fault:
        raise StyleError(
            f"{path} is no whole style file ({_one_line(fault)}); fetch it again or make it anew."
        ) from None
    _check_version(path, fields)
    given = fields.pop("sha256", None)
    if given != _hash(fields, tensors):
        raise StyleError(
            f"{path} was changed after it was made: its content hash is another. Fetch it again."
        )
    imprint = validate_metadata(
        path, {name: fields[name] for name in fields if name not in ("format", "version")}
    )
    if faults := _faults(imprint, tensors):
        raise StyleError(f"{path} is no style: {'; '.join(faults)}.")
    return imprint, tensors


def bound_name(family: str, layer: str, which: Half) -> str:
    """A tensor's name in the file."""
    return f"bound.{family}.{layer}.{which}"


def bound_pairs(
    tensors: Mapping[str, Tensor], family: str, halves: tuple[Half, Half]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Keys and values of one family by layer, or what cleaning adds to them, from a file that was read."""
    found = [match for match in map(_BOUND.fullmatch, tensors) if match and match[1] == family]
    names = dict.fromkeys(match[2] for match in found if f"{match[3]}{match[4] or ''}" in halves)
    return {
        layer: (
            tensors[bound_name(family, layer, halves[0])],
            tensors[bound_name(family, layer, halves[1])],
        )
        for layer in names
    }


PLAIN: tuple[Half, Half] = ("key", "value")
SHIFTED: tuple[Half, Half] = ("key_shift", "value_shift")


def _check_size(path: Path) -> None:
    if not path.is_file():
        raise StyleError(f"There is no style file {path}; looked in {path.absolute().parent}.")
    if path.stat().st_size > LARGEST:
        raise StyleError(f"{path} is larger than any style ({LARGEST // 10**6} MB); is it a model?")


def _parts(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """Fields and tensors. A tensor at a time, so that no second copy of the file is ever in memory."""
    with safe_open(path, framework="pt") as file:
        # Copies: a tensor as handed out is the file itself, and would change with it after it was checked.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()[KEY]), tensors


def _check_version(path: Path, fields: Any) -> None:
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise StyleError(f"{path} does not call itself a style ({FORMAT!r}); make one: instantstyle style …")
    if fields.get("version") != VERSION:
        raise StyleError(
            f"{path} is a style file of version {fields.get('version')!r}; this instantstyle reads "
            f"version {VERSION}. Upgrade it, or ask for the style in that version."
        )


def _hash(fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the JSON without its hash, then of each tensor's name, dtype, shape and bytes."""
    told = sha256(_text(fields).encode())
    for name, tensor in sorted(tensors.items()):
        told.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        told.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return told.hexdigest()


def _text(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def _faults(imprint: StyleMetadata, tensors: Mapping[str, Tensor]) -> list[str]:
    """Every tensor that is missing, strange, misshapen or without numbers."""
    shifted = any(match and match[4] for match in map(_BOUND.fullmatch, tensors))
    cleans = imprint.removal == "clean" and imprint.content_scale != 0
    return [
        *(["removal is clean, and what is bound is not"] if imprint.bound and cleans > shifted else []),
        *_strange_names(imprint, tensors),
        *_ingredient_faults(imprint, tensors),
        *_binding_faults(imprint, tensors),
        *(f"{name} holds no numbers" for name, tensor in tensors.items() if not _is_sound(name, tensor)),
    ]


def _strange_names(imprint: StyleMetadata, tensors: Mapping[str, Tensor]) -> list[str]:
    known = {"image_embeds", "unconditional", "content_embeds", "thumbnail"}
    found = {name: _BOUND.fullmatch(name) for name in tensors if name not in known}
    strange = [f"extra {name}" for name, match in found.items() if not match or match[1] not in imprint.bound]
    bound = {match[1] for match in found.values() if match}
    return strange + [f"nothing bound for {family}" for family in imprint.bound if family not in bound]


def _ingredient_faults(imprint: StyleMetadata, tensors: Mapping[str, Tensor]) -> list[str]:
    seen, blank = tensors.get("image_embeds"), tensors.get("unconditional")
    words = tensors.get("content_embeds")
    if seen is None and blank is None and words is None:
        lacking = [] if imprint.bound else ["it has neither embeddings nor keys and values"]
        return lacking + (["weights of nothing"] if imprint.weights else [])
    if seen is None or blank is None:
        return ["image_embeds and unconditional go together, and one is missing"]
    faults = []
    if seen.ndim not in (2, 3) or not seen.numel() or blank.shape != seen.shape[1:]:
        faults.append(f"image_embeds {list(seen.shape)} beside unconditional {list(blank.shape)}")
    if len(imprint.weights) != (len(seen) if seen.ndim else 0):
        faults.append(f"{len(imprint.weights)} weights for image_embeds {list(seen.shape)}")
    expected = (len(imprint.content), *seen.shape[-1:])
    if bool(imprint.content) != (words is not None) or (words is not None and words.shape != expected):
        has = "no content_embeds" if words is None else f"content_embeds {list(words.shape)}"
        faults.append(f"{has} for {len(imprint.content)} phrases")
    return faults


def _binding_faults(imprint: StyleMetadata, tensors: Mapping[str, Tensor]) -> list[str]:
    faults = []
    for name, tensor in tensors.items():
        if match := _BOUND.fullmatch(name):
            halves = [bound_name(match[1], match[2], half) for half in (SHIFTED if match[4] else PLAIN)]
            # What is added stands beside what it is added to.
            beside = [*halves, bound_name(match[1], match[2], "key")]
            shapes = {tensors[part].shape if part in tensors else None for part in beside}
            if tensor.ndim != 3 or len(tensor) != 2 or len(shapes) > 1:
                faults.append(f"{name} {list(tensor.shape)} is no half of a pair [2 tokens width]")
    return faults


def _is_sound(name: str, tensor: Tensor) -> bool:
    if name == "thumbnail":
        return tensor.dtype == torch.uint8 and tensor.ndim == 1
    return tensor.dtype in (torch.float16, torch.float32) and bool(tensor.isfinite().all())


def _one_line(fault: object) -> str:
    return " ".join(str(fault).split())[:200] or type(fault).__name__
