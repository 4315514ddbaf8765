"""Inversions as safetensors files: the latents and the scheduler's ᾱ, and one JSON text with the rest."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ..errors import InstantStyleError, JobError, StyleError
from ..recipe_types import Reference
from ..utils.atomic_write import atomic_write, check_writable
from ..utils.strict_model import StrictModel
from ..utils.text import cut, one_line

if TYPE_CHECKING:
    from .inversion import Inversion

KEY = "instantstyle"
SUFFIX = ".safetensors"
TENSORS = ("trajectory", "alphas")

Side = Annotated[int, Field(ge=8, le=16384, multiple_of=8)]


class InversionMetadata(StrictModel):
    """What the file of an inversion holds beside its tensors; the fields are those of `Inversion`."""

    format: Literal["instantstyle inversion"] = "instantstyle inversion"
    version: Literal[1] = 1
    timesteps: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, max_length=10_000)]
    prediction_type: Literal["epsilon", "v_prediction", "sample"]
    prompt: str
    guidance_scale: Annotated[float, Field(allow_inf_nan=False)]
    iterations: Annotated[int, Field(ge=1)]
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    width: Side
    height: Side
    picture: Reference | None = None


FIELDS = tuple(name for name in InversionMetadata.model_fields if name not in ("format", "version"))


def write_inversion(inversion: "Inversion", path: Path, *, force: bool = False) -> Path:
    """Write an inversion atomically; equal ones give equal bytes.

    Raises:
        JobError: The path has another suffix, or the file cannot be written there.
    """
    if path.suffix != SUFFIX:
        raise JobError(f"{path} should end in {SUFFIX}, the format of inversions.")
    check_writable(path, force=force)
    metadata = InversionMetadata(**{name: getattr(inversion, name) for name in FIELDS})
    tensors = {name: getattr(inversion, name).detach().cpu().float().contiguous().clone() for name in TENSORS}
    data = to_bytes(tensors, {KEY: metadata.model_dump_json()})
    with atomic_write(path, force=force) as draft:
        draft.write_bytes(data)
    return path


def read_inversion(path: Path) -> dict[str, Any]:
    """Read the fields of an inversion; nothing in the file is run.

    Raises:
        StyleError: The file is missing, damaged, or not an inversion.
    """
    name = cut(str(path), 300)
    if not os.path.isfile(path):
        raise StyleError(f"There is no file {name}; write one with Inversion.save.")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY, "{}")
            tensors = {key: file.get_tensor(key) for key in TENSORS if key in file.keys()}  # noqa: SIM118
        metadata = InversionMetadata.model_validate(json.loads(text))
    # A header is JSON from anywhere, which fails in many ways.
    except (OSError, ValueError, RecursionError, InstantStyleError) as error:
        raise StyleError(
            f"{name} is not an inversion ({one_line(error, 200)}); write it with Inversion.save."
        ) from None
    except Exception as error:  # safetensors' own error derives from nothing else
        raise StyleError(f"{name} is not a complete file of an inversion ({one_line(error, 200)}).") from None
    if {*tensors} != {*TENSORS} or not all(map(_is_sound, tensors.values())):
        raise StyleError(f"{name} is not an inversion: it needs finite tensors {' and '.join(TENSORS)} of floats.")
    own = {field: getattr(metadata, field) for field in FIELDS}
    return {**{key: tensor.float() for key, tensor in tensors.items()}, **own}


def _is_sound(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(tensor.isfinite().all())
