"""Style files: named tensors, and one JSON text that describes them. docs/style-file.md documents the format.

Reading runs no code and trusts nothing: version, content hash, every field and every tensor are checked, and an
error is one line.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from ..errors import ImageError, JobError, StyleError
from ..imaging.decoding import decode_image
from ..utils.atomic_write import atomic_write, check_writable
from ..utils.text import cut, join_first, one_line, shorten
from ..utils.text_file import parse_json
from .bound_style import BoundKeyValues
from .colour_texture import Texture
from .style_contents import (
    EMBEDDINGS,
    NEW_IN_2,
    PLAIN,
    SHIFTED,
    TEXTURE,
    StyleMetadata,
    TextureMetadata,
    bound_name,
    needs_version_2,
    norms_of_layers,
    pairs_of_layers,
    tensor_errors,
)
from .style_library import SUFFIX

if TYPE_CHECKING:
    from .style import Style

FORMAT = "instantstyle style"
VERSIONS = (1, 2)
"""Versions that are read. A style is written in the first version that holds all of it, so that earlier releases read
as many files as they can."""

KEY = "instantstyle"
"""The only key of the safetensors metadata: several keys would be written in an order that changes."""

LARGEST = 256_000_000
"""Largest file that is read, in bytes: a style bound in all SDXL layers with 16 references side by side has 43 MB."""

StyleFields = dict[str, Any]
"""Keyword arguments for `Style`."""


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
        StyleError: A field is not valid, keys or values overflow float16, or the file would be too large.
    """
    metadata, tensors = style_metadata(style), style_tensors(style, exact)
    check_destination(path, force=force)
    if (size := sum(tensor.nbytes for tensor in tensors.values())) > LARGEST:
        raise StyleError(
            f"{style!r} has {size / 1e6:.0f} MB, and files of styles have at most {LARGEST / 1e6:.0f} MB; bind it for "
            "fewer blocks or steps."
        )
    # Copies: safetensors refuses tensors that share memory.
    tensors = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    is_new = needs_version_2(metadata, tensors)
    fields = metadata.model_dump(mode="json", exclude=None if is_new else {*NEW_IN_2})
    content = {"format": FORMAT, "version": VERSIONS[is_new], **fields}
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
    timesteps = {bound.family: bound.timesteps for bound in style.bindings if bound.timesteps}
    own = StyleMetadata.model_fields.keys() - {"bound", "bound_timesteps", "texture"}
    fields = {name: getattr(style, name) for name in own}
    parts = {name: getattr(style.texture, name) for name in TextureMetadata.model_fields} if style.texture else None
    return _validate_metadata(style, {**fields, "bound": bound, "bound_timesteps": timesteps, "texture": parts})


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
    if style.texture is not None:
        tensors[TEXTURE] = style.texture.embeds.float()
    if style.thumbnail:
        tensors["thumbnail"] = torch.frombuffer(bytearray(style.thumbnail), dtype=torch.uint8)
    for bound in style.bindings:
        for layer, norms in bound.norms.items():
            tensors[bound_name(bound.family, layer, "norms")] = norms.float()
        for halves, pairs in ((PLAIN, bound.layers), (SHIFTED, bound.shifts)):
            for layer, pair in pairs.items():
                for half, tensor in zip(halves, pair, strict=True):
                    stored = tensor if exact else tensor.half()
                    if not exact and not stored.isfinite().all():
                        raise StyleError(
                            f"{style!r} has keys or values too large for float16; save it with exact=True."
                        )
                    tensors[bound_name(bound.family, layer, half)] = stored
    return tensors


def read_style_fields(path: Path) -> tuple[StyleFields, str]:
    """Read a style file, once: its hash is that of the bytes which the fields are made of.

    Args:
        path: A file as `write_style` wrote it.

    Returns:
        Keyword arguments for `Style`, where fields that the file does not have are left out; and the SHA-256 of the
        file in hexadecimal.

    Raises:
        StyleError: The file is missing, damaged, changed, of another version, or not a style file.
    """
    if not os.path.isfile(path):
        folder = cut(str(path.absolute().parent), 300)
        raise StyleError(f"There is no style file {cut(str(path), 300)}; looked in {folder}.")
    data = _read_bytes(path)
    file_sha256 = sha256(data).hexdigest()
    try:
        content, tensors = _parse_parts(data)
    # A header is JSON from anywhere: truncated, nested without end, of unknown types, it fails in many ways.
    except Exception as error:
        if _is_image(data):
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
    if errors := tensor_errors(metadata, tensors):
        raise StyleError(f"{path} is not a style: {join_first(errors, separator='; ')}.")
    bindings = (
        BoundKeyValues(
            family,
            adapter,
            pairs_of_layers(tensors, family, PLAIN),
            pairs_of_layers(tensors, family, SHIFTED),
            metadata.bound_timesteps.get(family, ()),
            norms_of_layers(tensors, family),
        )
        for family, adapter in metadata.bound.items()
    )
    fields = {
        **metadata.model_dump(exclude={"bound", "bound_timesteps", "texture"}),
        **{name: tensors[name].float() for name in EMBEDDINGS if name in tensors},
        "thumbnail": tensors["thumbnail"].numpy().tobytes() if "thumbnail" in tensors else b"",
        "bindings": tuple(bindings),
        "texture": metadata.texture and Texture(tensors[TEXTURE].float(), **metadata.texture.model_dump()),
    }
    return fields, file_sha256


def _validate_metadata(source: object, fields: Mapping[str, object]) -> StyleMetadata:
    try:
        return StyleMetadata.model_validate(fields)
    except ValidationError as errors:
        listed = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors.errors())
        raise StyleError(f"{source} is not a style: {one_line(listed, 200)}.") from None


def _read_bytes(path: Path) -> bytes:
    data = b""
    try:
        if (size := os.path.getsize(path)) <= LARGEST:
            with open(path, "rb") as file:
                # One more than allowed: the file may have grown since.
                data = file.read(LARGEST + 1)
    except OSError as error:
        raise StyleError(f"{cut(str(path), 300)} cannot be read ({error.strerror}).") from None
    if max(size, len(data)) > LARGEST:
        raise StyleError(f"{path} is larger than any style ({LARGEST // 10**6} MB); is it a model?")
    return data


def _is_image(data: bytes) -> bool:
    try:
        with decode_image(data, ""):
            return True
    except ImageError:
        return False


def _parse_parts(data: bytes) -> tuple[Any, dict[str, Tensor]]:
    """Return the JSON text, parsed, and copies of the tensors."""
    # First, because it checks the length of the header, which comes in the first 8 bytes.
    tensors = from_bytes(data)
    length = int.from_bytes(data[:8], "little")
    header: Any = parse_json(data[8 : 8 + length].decode())
    return parse_json(header["__metadata__"][KEY]), tensors


def _check_version(path: Path, content: object) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StyleError(f"{path} has not the format {FORMAT!r}; make a style: instantstyle style …")
    # True equals 1.
    if isinstance(content.get("version"), bool) or content.get("version") not in VERSIONS:
        raise StyleError(
            f"{path} is a style file of version {shorten(content.get('version'))}; this release reads "
            f"version {' and '.join(map(str, VERSIONS))}. Upgrade instantstyle, or ask for the style in that version."
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
