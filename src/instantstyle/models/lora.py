"""LoRA files, merged into the weights of a pipeline when it is loaded."""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..loaders.lora_file import LoraFile, is_factor
from ..loaders.weight_files import WeightFile, describe_mismatch, describe_weights, find_lora
from ..recipe_types import Lora
from ..utils.missing_package import missing_package_error
from ..utils.text import one_line
from .file_kinds import check_weights_kind

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
        ModelError: There is no such file, it is of another kind, or an entry has blocks.
        JobError: A weight is out of range.
        MissingExtra: PEFT, which merges files, is not installed.
    """
    described = tuple(map(_describe, loras))
    require_peft(described)
    return described


def require_peft(loras: Sequence[Lora]) -> None:
    """Check that PEFT is installed if files are to be merged, before a model is loaded.

    Args:
        loras: Entries of a recipe; those with blocks act without PEFT.

    Raises:
        MissingExtra: It is not installed.
    """
    merged = [lora for lora in loras if lora.blocks is None]
    if merged and find_spec("peft") is None:
        needs = f"Merging {merged[0].name} into the weights needs the package peft"
        raise missing_package_error(needs, "instantstyle[lora]")


def _describe(lora: LoraLike) -> Lora:
    if not isinstance(lora, Lora):
        name, weight = lora if isinstance(lora, tuple) else (lora, 1.0)
        lora = Lora(name=str(name), weight=weight)
    if lora.blocks is not None:
        raise ModelError(
            f"{lora.name} has blocks, and loading a model merges whole files; call it with style=LoraStyle(…) instead."
        )
    check_weights_kind("loras", lora.name)
    return describe_weights("loras", lora)


TRANSFORMER_ADVICE = (
    "LoRA files are merged into UNets only; leave them out, or merge them yourself, by load_lora_weights and "
    "fuse_lora of a pipeline of diffusers, and pass that to InstantStyle."
)
"""What can be done about LoRA files for a model that has a transformer."""


def merge_loras(pipe: Any, loras: Sequence[Lora]) -> None:
    """Add the changes of LoRA files to the weights of a pipeline, W + Σ wᵢ αᵢ/rᵢ Bᵢ Aᵢ (arXiv 2106.09685).

    Merged weights cost nothing during a call. Rounding is that of the pipeline's dtype.

    Args:
        pipe: A diffusers pipeline.
        loras: The files; one with a SHA-256 must have it.

    Raises:
        ModelError: A file cannot be read, is another one, or was made for another base model.
        MissingExtra: PEFT is not installed.
    """
    require_peft(loras)
    for lora in loras:
        _check_takes_loras(pipe)
        with _hide_remarks():
            path = _load(pipe, lora)
            pipe.set_adapters(_NAME, lora.weight)
            try:
                pipe.fuse_lora(components=_components(pipe), adapter_names=[_NAME], safe_fusing=True)
            except ValueError as error:
                raise ModelError(
                    f"{path} with weight {lora.weight:g} makes weights that are not finite in {pipe.unet.dtype}; use "
                    "a smaller weight, or another dtype."
                ) from error
            pipe.unload_lora_weights()


def change_second_text_encoder(loras: Sequence[Lora]) -> bool:
    """Return whether one of the files changes `text_encoder_2`, which shares the image encoder's space.

    Raises:
        ModelError: A file cannot be read, or is another one.
    """
    files = (LoraFile.read(find_lora(lora.name), lora.sha256) for lora in loras)
    return any(name.startswith(("lora_te2_", "text_encoder_2.")) for file in files for name in file.tensors)


def _load(pipe: Any, lora: Lora) -> Path:
    """Add the layers of a file to the components of a pipeline, and return the path of the file."""
    loaded = LoraFile.read(find_lora(lora.name), lora.sha256)
    file, tensors = loaded.file, dict(loaded.tensors)
    loaded.check_base(pipe.unet.config.cross_attention_dim)
    loaded.check_complete()
    if not tensors:
        raise ModelError(f"{file.path} has no LoRA layers of this model; it has no tensors.")
    try:
        # The settings of the file are those of each component; what this returns of them is of files only.
        state, alphas, _ = pipe.lora_state_dict(tensors, unet_config=pipe.unet.config, return_lora_metadata=True)
        if not all("lora" in name for name in state):
            raise ValueError("not all of its tensors are those of a LoRA.")
        named = _name_by_component(pipe, state)
        _check_layers(pipe, loaded, named)
        for prefix, names in named.items():
            _load_component(pipe, prefix, state, alphas, _settings(loaded, prefix, names))
            _check_loaded(file, getattr(pipe, prefix), names)
    except ModelError:
        pipe.unload_lora_weights()
        raise
    # diffusers and PEFT report names and shapes that do not fit as any of these.
    except (ValueError, RuntimeError, LookupError, NotImplementedError, TypeError, AttributeError) as error:
        pipe.unload_lora_weights()
        reason = describe_mismatch(error).replace(f".{_NAME}.", ".")
        raise ModelError(f"{file.path} does not fit this model: {reason}") from error
    return file.path


def _settings(loaded: LoraFile, prefix: str, names: set[str]) -> dict[str, Any] | None:
    """Return the settings of a component, with the layers that the file has; None where the file states none."""
    if prefix not in loaded.settings:
        return None
    settings = {**loaded.settings[prefix], "target_modules": sorted(set(map(_layer, names)))}
    return {f"{prefix}.{name}": value for name, value in settings.items()}


def _load_component(
    pipe: Any, prefix: str, state: Mapping[str, Any], alphas: Any, settings: Mapping[str, Any] | None
) -> None:
    """Add the layers of one component, as diffusers' `load_lora_weights` does, with the settings of the file."""
    arguments = {"adapter_name": _NAME, "metadata": settings, "network_alphas": alphas, "_pipeline": pipe}
    if prefix == pipe.unet_name:
        pipe.load_lora_into_unet(state, unet=pipe.unet, **arguments)
    else:
        pipe.load_lora_into_text_encoder(state, text_encoder=getattr(pipe, prefix), prefix=prefix, **arguments)


def _name_by_component(pipe: Any, state: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return the names that PEFT gives to the tensors of each component that a file changes."""
    from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_peft
    from diffusers.utils import convert_unet_state_dict_to_peft as convert_unet

    named: dict[str, set[str]] = {}
    for prefix in _components(pipe):
        own = {name.removeprefix(f"{prefix}."): each for name, each in state.items() if name.startswith(f"{prefix}.")}
        if not own:
            continue
        if prefix != pipe.unet_name:
            own = convert_state_dict_to_peft(convert_state_dict_to_diffusers(own))
            if not hasattr(getattr(pipe, prefix), "text_model"):
                own = {name.removeprefix("text_model."): each for name, each in own.items()}
        elif "lora_A" not in next(iter(own)):
            own = convert_unet(own)
        named[prefix] = {name.removesuffix(".weight") for name in own}
    return named


def _check_layers(pipe: Any, loaded: LoraFile, named: Mapping[str, set[str]]) -> None:
    """Refuse a file with layers that the model does not have, of which diffusers warns only."""
    unknown: list[str] = []
    for prefix, names in named.items():
        modules = {name for name, _ in getattr(pipe, prefix).named_modules()}
        unknown += [f"{prefix}.{layer}" for layer in sorted(map(_layer, names)) if layer not in modules]
    given = sum(map(is_factor, loaded.tensors))
    if not unknown and sum(sum(map(is_factor, names)) for names in named.values()) == given:
        return
    some = next(iter(unknown), None) or next(iter(loaded.tensors))
    raise ModelError(
        f"{loaded.file.path} has LoRA layers that this model does not have, such as {one_line(some, 200)}; use one "
        "that was made for it."
    )


def _check_loaded(file: WeightFile, component: Any, names: set[str]) -> None:
    """Check that the layers added to a component are those of the file: others would hold arbitrary numbers."""
    from peft import get_peft_model_state_dict

    found = {name.removesuffix(".weight") for name in get_peft_model_state_dict(component, adapter_name=_NAME)}
    if differing := sorted(found ^ names):
        raise ModelError(
            f"{file.path} does not fit this model: {len(differing)} tensors of its layers are missing or have no "
            f"place, such as {one_line(differing[0], 200)}."
        )


def _layer(name: str) -> str:
    """Return the name of the layer that a tensor in PEFT's layout belongs to."""
    return re.sub(r"\.lora_(?:A|B|magnitude_vector|embedding_A|embedding_B)(?:\.bias)?$", "", name)


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


def _components(pipe: Any) -> list[str]:
    """List the components that LoRA files can change."""
    return [name for name in pipe._lora_loadable_modules if getattr(pipe, name, None) is not None]


def _check_takes_loras(pipe: Any) -> None:
    if not hasattr(pipe, "load_lora_weights"):
        raise ModelError(f"{type(pipe).__name__} takes no LoRA; leave it out.")
    if getattr(pipe, "unet", None) is None:
        raise ModelError(f"{type(pipe).__name__} has a diffusion transformer. {TRANSFORMER_ADVICE}")
