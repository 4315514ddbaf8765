"""LoRA files, merged into the weights of a pipeline when it is loaded."""

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..recipe import Lora
from ..utils.text import one_line
from .weight_files import WeightFile, describe_weights, find_lora

BASES: Mapping[int, str] = {768: "Stable Diffusion 1.5", 1024: "Stable Diffusion 2", 2048: "SDXL"}
"""Base model of a LoRA by the width of the text tokens that its cross-attention reads."""

_TEXT_KEY = re.compile(r"attn2[._](?:processor\.)?to_k.*(?:down|lora_A)(?:\.default)?\.weight$")
_TRANSFORMER_KEY = re.compile(r"(?:^|[._])(?:double_blocks|single_blocks|single_transformer_blocks|joint_blocks)[._]")
"""Names that only diffusion transformers have: those of FLUX and of SD3."""


_NAME = "instantstyle"
"""Name of the PEFT adapter while a file is merged."""


LoraLike = str | Path | tuple[str | Path, float] | Lora
"""A LoRA: a file, a file and its weight, or the entry of a recipe."""


def list_loras(loras: Sequence[LoraLike]) -> tuple[Lora, ...]:
    """Return the entries of a recipe for LoRA files.

    Args:
        loras: The files.

    Returns:
        Entries with the SHA-256 of each file.

    Raises:
        ModelError: There is no such file.
        JobError: A weight is out of range.
    """
    return tuple(map(_describe, loras))


def _describe(lora: LoraLike) -> Lora:
    if not isinstance(lora, Lora):
        name, weight = lora if isinstance(lora, tuple) else (lora, 1.0)
        lora = Lora(name=str(name), weight=weight)
    return describe_weights("loras", lora)


def merge_loras(pipe: Any, loras: Sequence[Lora]) -> None:
    """Add the changes of LoRA files to the weights of a pipeline, W + Σ wᵢ αᵢ/rᵢ Bᵢ Aᵢ (arXiv 2106.09685).

    Merged weights cost nothing during a call. Rounding is that of the pipeline's dtype.

    Args:
        pipe: A diffusers pipeline.
        loras: The files; one with a SHA-256 must have it.

    Raises:
        ModelError: A file cannot be read, is another one, or was made for another base model; or PEFT is not
            installed.
    """
    for lora in loras:
        _require_peft(pipe)
        with _hide_remarks():
            _load(pipe, lora)
            pipe.set_adapters(_NAME, lora.weight)
            pipe.fuse_lora(components=_components(pipe), adapter_names=[_NAME])
            pipe.unload_lora_weights()


def _load(pipe: Any, lora: Lora) -> None:
    file = find_lora(lora.name)
    tensors = file.read(lora.sha256)
    _check_base(pipe, file, {key: tuple(tensor.shape) for key, tensor in tensors.items()})
    try:
        pipe.load_lora_weights(dict(tensors), adapter_name=_NAME)
    # diffusers and PEFT report names and shapes that do not fit as any of these.
    except (ValueError, RuntimeError, LookupError, NotImplementedError, TypeError, AttributeError) as error:
        raise ModelError(f"{file.path} does not fit this model: {one_line(error, 200)}") from error
    if not any(_NAME in adapters for adapters in pipe.get_list_adapters().values()):
        some = ", ".join(sorted(tensors)[:2]) or "no tensors"
        raise ModelError(f"{file.path} has no LoRA layers of this model; it has {some}.")


def _check_base(pipe: Any, file: WeightFile, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a LoRA of another base model by the width of its text tokens."""
    expected = _text_width(pipe)
    if any(map(_TRANSFORMER_KEY.search, shapes)):
        raise ModelError(f"{file.path} is a LoRA of a diffusion transformer, such as FLUX, and this model is a UNet.")
    # A motion module's attn2 reads frames and not text.
    keys = [key for key in shapes if _TEXT_KEY.search(key) and "motion_modules" not in key]
    widths = {shapes[key][1] for key in keys if len(shapes[key]) > 1}
    if widths and expected and expected not in widths:
        raise ModelError(
            f"{file.path} is a LoRA of {_join(BASES.get(width, 'another model') for width in widths)} (text tokens of "
            f"{_join(map(str, sorted(widths)))} numbers), and this model, {BASES.get(expected, 'of another family')}, "
            f"has {expected}; use one for this base."
        )


@contextmanager
def _hide_remarks() -> Generator[None]:
    """Hide what diffusers logs of components that a LoRA does not change."""
    from diffusers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _text_width(pipe: Any) -> int | None:
    width = pipe.unet.config.cross_attention_dim
    return width if isinstance(width, int) else None


def _components(pipe: Any) -> list[str]:
    """List the components that LoRA files can change."""
    return [name for name in pipe._lora_loadable_modules if getattr(pipe, name, None) is not None]


def _require_peft(pipe: Any) -> None:
    from diffusers.utils.import_utils import is_peft_available

    if not hasattr(pipe, "load_lora_weights"):
        raise ModelError(f"{type(pipe).__name__} takes no LoRA; leave it out.")
    if not is_peft_available():
        raise ModelError("A LoRA needs the package peft: pip install 'instantstyle[lora]'.")


def _join(names: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(names))
