"""Style files: named tensors, and one JSON text that describes them. docs/style-file.md documents the format.

Reading runs no code and trusts nothing: version, content hash, every field and every tensor are checked, and an
error is one line.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ..errors import ImageError, JobError, StyleError
from ..imaging.loading import open_image
from ..recipe import Combine, Crop, Removal
from ..utils.atomic_write import atomic_write, check_writable
from ..utils.text import cut, find_text_fault, join_first, one_line, shorten
from ..utils.text_file import parse_json
from .bound_style import BoundKeyValues, KeyValue
from .style_library import SUFFIX

if TYPE_CHECKING:
    from .style import Style

FORMAT = "instantstyle style"
VERSION = 1

KEY = "instantstyle"
"""The only key of the safetensors metadata: several keys would be written in an order that changes."""

LARGEST = 256_000_000
"""Largest file that is read, in bytes: a style bound in all SDXL layers with 16 references side by side has 43 MB."""

Fingerprint = Annotated[str, Field(pattern="^([0-9a-f]{16})?$")]
Family = Annotated[str, Field(pattern="^[a-z0-9-]+$")]


def _validate_text(text: str) -> str:
    if fault := find_text_fault(text):
        raise ValueError(f"it {fault}")
    return text


Text = Annotated[str, Field(max_length=10_000), BeforeValidator(_validate_text)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

StyleFields = dict[str, Any]
"""Keyword arguments for `Style`."""

EMBEDDINGS = ("image_embeds", "unconditional", "content_embeds")
"""Fields of a style that are tensors of their own in the file."""

Half = Literal["key", "value", "key_shift", "value_shift"]

PLAIN: tuple[Half, Half] = ("key", "value")
SHIFTED: tuple[Half, Half] = ("key_shift", "value_shift")

_BOUND = re.compile(r"bound\.([a-z0-9-]+)\.(.+)\.(key|value)(_shift)?")


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
    author: Text = ""
    licence: Text = ""
    notes: Text = ""


def check_destination(path: Path, *, force: bool = False) -> None:
    """Check that a style file can be written to the path.

    Raises:
        JobError: The suffix is another one, the file exists and `force` is False, or the folder is missing.
    """
    if not path.name.endswith(SUFFIX):
        raise JobError(f"{path} should end in {SUFFIX}: by that suffix a style is recognised.")
    check_writable(path, force=force)


def write_style(style: "Style", path: Path, *, force: bool = False, exact: bool = False) -> Path:
    """Write a style atomically; equal styles give equal bytes.

    Args:
        style: The style to write.
        path: A path that ends in `SUFFIX`.
        force: Whether to replace an existing file.
        exact: Whether to store keys and values as they are instead of in float16.

    Returns:
        The path.

    Raises:
        JobError: The file cannot be written there.
        StyleError: A field is not valid, or keys or values overflow float16.
    """
    metadata, tensors = style_metadata(style), style_tensors(style, exact)
    check_destination(path, force=force)
    # Copies: safetensors refuses tensors that share memory.
    tensors = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    content = {"format": FORMAT, "version": VERSION, **metadata.model_dump(mode="json")}
    data = to_bytes(tensors, {KEY: _text({**content, "sha256": _hash(content, tensors)})})
    with atomic_write(path, force=force) as draft:
        draft.write_bytes(data)
    return path


def style_metadata(style: "Style") -> StyleMetadata:
    """Collect the metadata of a style.

    Raises:
        StyleError: A field is not valid.
    """
    bound = {bound.family: bound.adapter for bound in style.bindings}
    fields = {name: getattr(style, name) for name in StyleMetadata.model_fields if name != "bound"}
    return _validate_metadata(style, {**fields, "bound": bound})


def style_tensors(style: "Style", exact: bool) -> dict[str, Tensor]:
    """Collect the tensors of a style by their names in the file.

    Embeddings are cast to float32, and keys and values to float16 unless `exact`.

    Raises:
        StyleError: Keys or values overflow float16.
    """
    tensors: dict[str, Tensor] = {}
    if style.has_ingredients:
        embeddings = ((name, getattr(style, name)) for name in EMBEDDINGS)
        tensors = {name: tensor.float() for name, tensor in embeddings if tensor is not None}
    if style.thumbnail:
        tensors["thumbnail"] = torch.frombuffer(bytearray(style.thumbnail), dtype=torch.uint8)
    for bound in style.bindings:
        for halves, pairs in ((PLAIN, bound.layers), (SHIFTED, bound.shifts)):
            for layer, pair in pairs.items():
                for half, tensor in zip(halves, pair, strict=True):
                    stored = tensor if exact else tensor.half()
                    if not exact and not stored.isfinite().all():
                        raise StyleError(
                            f"{style!r} has keys or values too large for float16; save it with exact=True."
                        )
                    tensors[_bound_name(bound.family, layer, half)] = stored
    return tensors


def read_style_fields(path: Path) -> StyleFields:
    """Read a style file.

    Args:
        path: A file as `write_style` wrote it.

    Returns:
        Keyword arguments for `Style`; fields that the file does not have are left out.

    Raises:
        StyleError: The file is missing, damaged, changed, of another version, or not a style file.
    """
    if not os.path.isfile(path):
        folder = cut(str(path.absolute().parent), 300)
        raise StyleError(f"There is no style file {cut(str(path), 300)}; looked in {folder}.")
    if os.path.getsize(path) > LARGEST:
        raise StyleError(f"{path} is larger than any style ({LARGEST // 10**6} MB); is it a model?")
    try:
        content, tensors = _read_parts(path)
    # A header is JSON from anywhere: truncated, nested without end, of unknown types, it fails in many ways.
    except Exception as error:
        if _is_image(path):
            raise StyleError(
                f"{path} is an image and not a saved style; save its style first: `instantstyle style {path}` "
                f"writes {path.name.partition('.')[0]}{SUFFIX}."
            ) from None
        raise StyleError(
            f"{path} is not a complete style file ({one_line(error, 200)}); download it again or make it again."
        ) from None
    _check_version(path, content)
    digest = content.pop("sha256", None)
    if digest != _hash(content, tensors):
        raise StyleError(f"{path} was changed after it was written: its content hash differs. Download it again.")
    metadata = _validate_metadata(
        path, {name: value for name, value in content.items() if name not in ("format", "version")}
    )
    if errors := _tensor_errors(metadata, tensors):
        raise StyleError(f"{path} is not a style: {join_first(errors, separator='; ')}.")
    bindings = (
        BoundKeyValues(family, adapter, _pairs(tensors, family, PLAIN), _pairs(tensors, family, SHIFTED))
        for family, adapter in metadata.bound.items()
    )
    return {
        **metadata.model_dump(exclude={"bound"}),
        **{name: tensors[name].float() for name in EMBEDDINGS if name in tensors},
        "thumbnail": tensors["thumbnail"].numpy().tobytes() if "thumbnail" in tensors else b"",
        "bindings": tuple(bindings),
    }


def _validate_metadata(source: object, fields: Mapping[str, object]) -> StyleMetadata:
    try:
        return StyleMetadata.model_validate(fields)
    except ValidationError as errors:
        listed = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors.errors())
        raise StyleError(f"{source} is not a style: {one_line(listed, 200)}.") from None


def _is_image(path: Path) -> bool:
    try:
        with open_image(path):
            return True
    except ImageError:
        return False


def _read_parts(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """Read JSON text and tensors, one tensor at a time, so that no second copy of the file is in memory."""
    with safe_open(path, framework="pt") as file:
        # Copies: the returned tensor maps the file, and would change with it after the checks.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return parse_json(file.metadata()[KEY]), tensors


def _check_version(path: Path, content: object) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StyleError(f"{path} has not the format {FORMAT!r}; make a style: instantstyle style …")
    if content.get("version") != VERSION:
        raise StyleError(
            f"{path} is a style file of version {shorten(content.get('version'))}; this release reads "
            f"version {VERSION}. Upgrade instantstyle, or ask for the style in that version."
        )


def _hash(content: Mapping[str, object], tensors: Mapping[str, Tensor]) -> str:
    """Compute SHA-256 of the JSON text without its hash, then of each tensor's name, dtype, shape and bytes."""
    digest = sha256(_text(content).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _text(content: Mapping[str, object]) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def _bound_name(family: str, layer: str, half: Half) -> str:
    return f"bound.{family}.{layer}.{half}"


def _pairs(tensors: Mapping[str, Tensor], family: str, halves: tuple[Half, Half]) -> dict[str, KeyValue]:
    """Return the keys and values of a family, or their shifts, by layer."""
    found = [match for match in map(_BOUND.fullmatch, tensors) if match and match[1] == family]
    layers = dict.fromkeys(match[2] for match in found if f"{match[3]}{match[4] or ''}" in halves)
    first, second = halves
    return {
        layer: (tensors[_bound_name(family, layer, first)], tensors[_bound_name(family, layer, second)])
        for layer in layers
    }


def _tensor_errors(metadata: StyleMetadata, tensors: Mapping[str, Tensor]) -> list[str]:
    """List every tensor that is missing, unknown, misshapen or not finite."""
    is_shifted = any(match and match[4] for match in map(_BOUND.fullmatch, tensors))
    cleans = metadata.removal == "clean" and metadata.content_scale != 0
    return [
        *(["removal is clean, but the keys and values are not"] if metadata.bound and cleans > is_shifted else []),
        *_name_errors(metadata, tensors),
        *_embedding_errors(metadata, tensors),
        *_bound_errors(tensors),
        *(f"{name} is not finite or of a wrong dtype" for name, x in tensors.items() if not _is_sound(name, x)),
    ]


def _name_errors(metadata: StyleMetadata, tensors: Mapping[str, Tensor]) -> list[str]:
    known = {*EMBEDDINGS, "thumbnail"}
    found = {name: _BOUND.fullmatch(name) for name in tensors if name not in known}
    extra = [f"extra {name}" for name, match in found.items() if not match or match[1] not in metadata.bound]
    bound = {match[1] for match in found.values() if match}
    return extra + [f"nothing bound for {family}" for family in metadata.bound if family not in bound]


def _embedding_errors(metadata: StyleMetadata, tensors: Mapping[str, Tensor]) -> list[str]:
    images, unconditional, content = (tensors.get(name) for name in EMBEDDINGS)
    if images is None and unconditional is None and content is None:
        missing = [] if metadata.bound else ["it has neither embeddings nor keys and values"]
        return missing + (["weights without embeddings"] if metadata.weights else [])
    if images is None or unconditional is None:
        return ["image_embeds and unconditional go together, and one is missing"]
    errors: list[str] = []
    if images.ndim not in (2, 3) or not images.numel() or unconditional.shape != images.shape[1:]:
        errors.append(f"image_embeds {list(images.shape)} beside unconditional {list(unconditional.shape)}")
    if len(metadata.weights) != (len(images) if images.ndim else 0):
        errors.append(f"{len(metadata.weights)} weights for image_embeds {list(images.shape)}")
    expected = (len(metadata.content), *images.shape[-1:])
    if bool(metadata.content) != (content is not None) or (content is not None and content.shape != expected):
        has = "no content_embeds" if content is None else f"content_embeds {list(content.shape)}"
        errors.append(f"{has} for {len(metadata.content)} phrases")
    return errors


def _bound_errors(tensors: Mapping[str, Tensor]) -> list[str]:
    errors: list[str] = []
    for name, tensor in tensors.items():
        if match := _BOUND.fullmatch(name):
            halves = [_bound_name(match[1], match[2], half) for half in (SHIFTED if match[4] else PLAIN)]
            # A shift has the shape of the key that it is added to.
            partners = [*halves, _bound_name(match[1], match[2], "key")]
            shapes = {tensors[part].shape if part in tensors else None for part in partners}
            if tensor.ndim != 3 or len(tensor) != 2 or len(shapes) > 1:
                errors.append(f"{name} {list(tensor.shape)} is no half of a pair [2 tokens width]")
    return errors


def _is_sound(name: str, tensor: Tensor) -> bool:
    if name == "thumbnail":
        return tensor.dtype == torch.uint8 and tensor.ndim == 1
    return tensor.dtype in (torch.float16, torch.float32) and bool(tensor.isfinite().all())
