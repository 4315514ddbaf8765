"""Motion modules of AnimateDiff (arXiv 2307.04725), with which a pipeline of Stable Diffusion generates videos."""

import re
from collections.abc import Mapping
from inspect import signature
from typing import TYPE_CHECKING, Any

from ..errors import InstantStyleError, ModelError
from ..loaders.weight_files import WeightFile, describe_mismatch, find_motion_adapter
from ..recipe_types import RecipeFields, Reference
from ..unet.architectures import SD15, SDXL
from ..utils.scheduler_config import convert_scheduler
from .network import import_diffusers_class
from .pipeline_files import read_index
from .resolve import find_card

if TYPE_CHECKING:
    from torch import Tensor

PIPELINES: Mapping[str, str] = {
    "StableDiffusionPipeline": "AnimateDiffPipeline",
    "StableDiffusionXLPipeline": "AnimateDiffSDXLPipeline",
}
"""Class of AnimateDiff by the class of the pipeline that it extends."""

BASES: Mapping[tuple[int, ...], str] = {
    (320, 640, 1280, 1280): "Stable Diffusion 1.5",
    (320, 640, 1280): "SDXL",
}
"""Base model of a motion adapter by the widths of its blocks."""

SCHEDULER: Mapping[str, object] = {
    "beta_schedule": "linear",
    "clip_sample": False,
    "steps_offset": 1,
    "timestep_spacing": "linspace",
}
"""Settings of the DDIMScheduler that diffusers' page on AnimateDiff uses for SD1.5 and SDXL: motion modules are
trained with linear betas (huggingface.co/docs/diffusers/api/pipelines/animatediff)."""

_NORM = re.compile(r"(down_blocks\.(\d+)|mid_block)\.motion_modules\.(\d+)\.norm\.weight$")
_TRANSFORMER = re.compile(r"down_blocks\.0\.motion_modules\.0\.transformer_blocks\.(\d+)\.norm1\.weight$")
_POSITIONS = re.compile(r"\.(?:pos_embed|pos_encoder)\.pe$")


def check_animatable(model: str) -> None:
    """Refuse a model that no motion adapter extends, by its card or its files, before anything is loaded or fetched.

    Args:
        model: As in `load`. One that cannot be found, or of which neither tells, is not refused: loading reports it.

    Raises:
        ModelError: It is another model.
    """
    try:
        card = find_card(model)
    except InstantStyleError:
        return
    folder = card.folder
    kind = read_index(folder).get("_class_name") if card.architecture is None and folder.is_dir() else None
    if card.architecture not in (None, SD15, SDXL) or (isinstance(kind, str) and kind not in PIPELINES):
        raise ModelError(
            f"{model} cannot be animated: motion adapters extend SD1.5 and SDXL; name such a model, for example "
            "--model sd15."
        )


def add_motion_modules(pipe: Any, adapter: Reference, *, keeps_scheduler: bool = False) -> Any:
    """Make a pipeline of AnimateDiff from a pipeline, whose other components it shares.

    Args:
        pipe: A `StableDiffusionPipeline` or `StableDiffusionXLPipeline`.
        adapter: Motion modules in diffusers' or the original layout; an entry with a SHA-256 must have it.
        keeps_scheduler: Whether the scheduler stays that of the pipeline, instead of `SCHEDULER`.

    Returns:
        The new pipeline, with the weights of the UNet and of the motion modules in one network.

    Raises:
        ModelError: The pipeline cannot be extended; the file cannot be read, is another one, has no motion modules, or
            was made for another base model.
    """
    class_name = PIPELINES.get(type(pipe).__name__)
    if class_name is None:
        raise ModelError(
            f"A motion adapter extends {' or '.join(PIPELINES)}, and this model has a {type(pipe).__name__}; use "
            "SD1.5 or SDXL."
        )
    pipeline_class, network = import_diffusers_class(class_name), _load_network(pipe, adapter)
    scheduler = pipe.scheduler
    if not keeps_scheduler:
        scheduler = convert_scheduler(scheduler, import_diffusers_class("DDIMScheduler"), **SCHEDULER)
    known = signature(pipeline_class.__init__).parameters
    settings = {name: value for name, value in pipe.config.items() if name == "force_zeros_for_empty_prompt"}
    parts = {name: part for name, part in pipe.components.items() if name in known} | settings
    try:
        made = pipeline_class(**{**parts, "motion_adapter": network, "scheduler": scheduler})
    # What diffusers raises for a network of other blocks.
    except (ValueError, RuntimeError, LookupError, AttributeError, TypeError) as error:
        raise ModelError(f"{adapter.name} does not fit this model: {describe_mismatch(error)}") from error
    _copy_weights(pipe.unet, made.unet)
    return made


def _copy_weights(unet: Any, motion_unet: Any) -> None:
    """Copy all weights of a UNet into the one with motion modules.

    diffusers' `UNetMotionModel.from_unet2d` (0.42) leaves out `add_embedding`, SDXL's embedding of the pooled text and
    the sizes, which then stays random.
    """
    own, tensors = motion_unet.state_dict(), unet.state_dict()
    if lost := [name for name, tensor in tensors.items() if name not in own or own[name].shape != tensor.shape]:
        raise ModelError(f"AnimateDiff's UNet has no place for weights of this model, such as {lost[0]}; use another.")
    motion_unet.load_state_dict(tensors, strict=False)


def _load_network(pipe: Any, adapter: Reference) -> Any:
    """Build the motion modules and check that they are for the UNet of the pipeline."""
    file = find_motion_adapter(adapter.name)
    contents = file.read(adapter.sha256)
    found = {name.removeprefix("module."): tensor for name, tensor in contents.tensors.items()}
    if not any(map(_NORM.search, _rename(found))):
        some = ", ".join(sorted(found)[:2]) or "no tensors"
        raise ModelError(f"{file.path} has no motion modules; it has {some}. Name a motion adapter of AnimateDiff.")
    if "conv_in.weight" in found:
        raise ModelError(
            f"{file.path} is a motion adapter of PIA, which animates a given image: wrap diffusers' PIAPipeline with "
            "styled.with_pipeline instead."
        )
    config = contents.config or _infer_config(found, pipe.unet.config.norm_num_groups)
    _check_base(file, tuple(config.get("block_out_channels") or ()), tuple(pipe.unet.config.block_out_channels))
    tensors = _rename(found)
    try:
        network = import_diffusers_class("MotionAdapter").from_config(config)
        missing, unexpected = network.load_state_dict(tensors, strict=False)
    # What diffusers and torch raise for settings and shapes that do not fit.
    except (ValueError, TypeError, LookupError, RuntimeError, AttributeError) as error:
        raise ModelError(f"{file.path} is no motion adapter of this model: {describe_mismatch(error)}") from error
    # Positions are computed, and not part of every file.
    missing = [name for name in missing if not _POSITIONS.search(name)]
    if missing or unexpected:
        raise ModelError(
            f"{file.path} is no whole motion adapter: {len(missing)} tensors are missing and {len(unexpected)} are "
            f"unknown, such as {[*missing, *unexpected][0]}."
        )
    return network.to(pipe.unet.device, pipe.unet.dtype).eval()


def _rename(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Rename the tensors of the original implementation as diffusers does; those of diffusers keep their names."""
    if not any(".temporal_transformer." in name for name in tensors):
        return dict(tensors)
    from diffusers.loaders.single_file_utils import convert_animatediff_checkpoint_to_diffusers

    return convert_animatediff_checkpoint_to_diffusers(dict(tensors))


def _infer_config(found: "Mapping[str, Tensor]", groups: int) -> RecipeFields:
    """Infer the settings from names and shapes; the number of heads, which has none, is the 8 of all published files.

    Args:
        found: Tensors by name, in either layout.
        groups: Groups of the UNet's norms, which those of its motion modules have too.
    """
    tensors = _rename(found)
    norms = [(match, tensor) for name, tensor in tensors.items() if (match := _NORM.search(name))]
    widths = {int(match[2]): len(tensor) for match, tensor in norms if match[2]}
    layers = {block: sum(match[2] == str(block) for match, _ in norms) for block in widths}
    positions = next((tensor.shape[1] for name, tensor in found.items() if _POSITIONS.search(name)), 32)
    return {
        "block_out_channels": [widths[block] for block in sorted(widths)],
        "motion_layers_per_block": [layers[block] for block in sorted(layers)],
        "motion_transformer_layers_per_block": max(1, sum(bool(_TRANSFORMER.search(name)) for name in tensors)),
        "use_motion_mid_block": any(match[1] == "mid_block" for match, _ in norms),
        "motion_max_seq_length": positions,
        "motion_norm_num_groups": groups,
    }


def _check_base(file: WeightFile, theirs: tuple[int, ...], ours: tuple[int, ...]) -> None:
    """Refuse a motion adapter of another base model by the widths of its blocks."""
    if theirs and theirs != ours:
        adapter, model = (_describe_base(each) for each in (theirs, ours))
        raise ModelError(f"{file.path} is a motion adapter of {adapter}, and this model is {model}; use one for it.")


def _describe_base(widths: tuple[int, ...]) -> str:
    """Name a base model with the widths of its blocks: `SDXL (blocks of 320, 640, 1280)`."""
    joined = ", ".join(map(str, widths))
    return f"{BASES[widths]} (blocks of {joined})" if widths in BASES else f"one with blocks of {joined}"
