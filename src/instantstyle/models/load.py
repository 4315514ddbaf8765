"""Load a ready `InstantStyle` from a registry name, a folder, a hub id or a single file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from ..core.pipeline import InstantStyle
from ..errors import InstantStyleError, ModelError
from ..recipe_types import RecipeFields, Reference
from ..synthetic.vocabulary import explain_unknown_prompt
from ..utils.hub import fetch_file, why_unreachable
from ..utils.library_logging import hide_progress_bars, hide_warnings
from ..utils.scheduler_config import convert_scheduler
from ..utils.text import one_line
from .adapter_parts import (
    AdapterLike,
    AdapterParts,
    fitting_text_encoder,
    list_adapters,
    second_adapter_fields,
    validate_files,
    with_text_encoder,
)
from .conflicts import find_network_conflicts
from .default_dtype import resolve_device
from .file_pipeline import load_file
from .lora import LoraLike
from .network import choose_dtype, import_diffusers_class
from .pipeline_changes import PipelineChanges
from .pipeline_files import IMAGE_ENCODER, find_hub_variant, list_left_out
from .registry import ModelCard
from .required_files import find_local_pipeline, list_required_files
from .resolve import ImageEncoderLike, drop_adapter, resolve_card
from .single_file import find_digest

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline


def load(
    model: str | Path | Reference,
    *,
    adapter: AdapterLike | Sequence[AdapterLike | None] | None = None,
    image_encoder: ImageEncoderLike | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
    keep_encoder: bool = True,
    plain: bool = False,
    loras: Sequence[LoraLike] = (),
    vae: str | Path | Reference | None = None,
    scheduler: str | None = None,
    motion_adapter: str | Path | Reference | None = None,
) -> InstantStyle:
    """Load a model with its IP-Adapter and image encoder.

    Args:
        model: A name from `CARDS`, a folder in diffusers' layout, a hub id, or a single-file checkpoint; as the entry
            of a recipe, a file that must have its SHA-256.
        adapter: A file, a state dict, or a name from `CARDS` for the adapter of that model; as the entry of a recipe,
            a file that must have its SHA-256. None takes the model's own: the one in the registry, or
            `ip-adapter*.safetensors` or `.bin` in the folder. Of a list, the adapters after the first act beside it,
            see `InstantStyle.add_adapter`; their names are those of their models, or of their files without suffix.
        image_encoder: A model, its folder or its file. None takes the one beside the model, or else the one
            that the adapter needs. Of a list, one or None for each adapter; None shares the first one where it fits.
        dtype: None chooses float16 on a GPU, bfloat16 for transformers there, and on a CPU float32, or bfloat16
            if a short measurement finds it to be faster.
        device: Where the model is moved to; None leaves it on the CPU.
        keep_encoder: Whether to keep the image encoder in memory after references are encoded.
        plain: Whether to load neither adapter nor image encoder. Only bound styles can be used then.
        loras: LoRA .safetensors files, each with or without a weight, `("ink.safetensors", 0.7)`. They are merged
            into the weights.
        vae: A .safetensors file, a folder in diffusers' layout or a hub id of a VAE in place of the model's own.
        scheduler: A name of `models.schedulers.SCHEDULERS`, or a class of diffusers, in place of the model's own.
        motion_adapter: A .safetensors or .ckpt file, a folder in diffusers' layout or a hub id of AnimateDiff's motion
            modules.
            Calls then generate videos: `styled("a rocket", style="ink.png", num_frames=16).save("rocket.gif")`.

    Returns:
        The model, ready to generate.

    Raises:
        ModelError: The model cannot be found or loaded. Files that are missing and cannot be downloaded are
            all listed, before anything is loaded.
        ModelError: A LoRA, VAE or motion adapter does not fit, or there is no such scheduler.
        CheckpointError: The adapter or image encoder does not fit.
        JobError: There is no such device, or a weight of a LoRA is out of range.
        MissingExtra: A tokenizer, a LoRA or the scheduler needs a package that is not installed; nothing is loaded.
    """
    changes = PipelineChanges.of(loras, vae, scheduler, motion_adapter)
    model, expected = (model.name, model.sha256) if isinstance(model, Reference) else (model, None)
    if device is not None:
        device = resolve_device(device)
    if dtype is not None and not isinstance(cast(object, dtype), torch.dtype):
        raise ModelError(f"dtype is {dtype!r}; it is a dtype of torch, such as torch.float16.")
    if plain:
        card = drop_adapter(resolve_card(str(model))[0])
        _validate_plain(card)
        changes.check_fits(card)
        digest = find_digest(model, expected)
        dtype = dtype or choose_dtype(card, device)
        with hide_progress_bars():
            pipe = changes.apply(load_pipeline(card, dtype), keeps_scheduler=card.scheduler is not None)
        if device is not None:
            pipe.to(device)
        return InstantStyle(
            pipe,
            architecture=card.architecture,
            defaults=card.defaults,
            recipe_fields=_recipe_fields(model, digest, adapter, image_encoder, changes),
            explain_prompt=explain_unknown_prompt if card.bundled else None,
        )
    adapters = list_adapters(str(model), adapter, image_encoder)
    first, card = adapters[0], adapters[0].card
    for parts in adapters:
        parts.validate(None if parts is first else first)
    changes.check_fits(card)
    digest = find_digest(model, expected)
    dtype = dtype or choose_dtype(card, device)
    checkpoint = first.open_checkpoint()
    with hide_progress_bars():
        encoder = first.open_encoder(checkpoint, dtype)
        pipe = load_pipeline(card, dtype)
        text_encoder = changes.copy_text_encoder(pipe)
        pipe = changes.apply(pipe, keeps_scheduler=card.scheduler is not None)
    if device is not None:
        pipe.to(device)
        for model_part in (encoder.model, *(text_encoder or ())[:1]):
            model_part.to(device)
    styled = InstantStyle(
        pipe,
        adapter=checkpoint,
        image_encoder=encoder,
        text_encoder=fitting_text_encoder(text_encoder, checkpoint),
        architecture=card.architecture,
        defaults=card.defaults,
        keep_encoder=keep_encoder,
        recipe_fields=_recipe_fields(model, digest, adapter, image_encoder, changes, adapters),
        explain_prompt=explain_unknown_prompt if card.bundled else None,
    )
    styled.builder = with_text_encoder(styled.builder)
    with hide_progress_bars():
        for parts in adapters[1:]:
            parts.add_to(styled, dtype, keep_encoder, text_encoder)
    return styled


def validate_model(
    model: str | Path,
    *,
    adapter: AdapterLike | Sequence[AdapterLike | None] | None = None,
    image_encoder: ImageEncoderLike | None = None,
    plain: bool = False,
) -> None:
    """Validate what `load` validates before it loads anything; the arguments are those of `load`.

    Raises:
        ModelError: The model cannot be found, or files are missing and cannot be downloaded.
        CheckpointError: The adapter cannot be read.
    """
    adapters = list_adapters(str(model), adapter, image_encoder)
    if plain:
        _validate_plain(drop_adapter(adapters[0].card))
        return
    for parts in adapters:
        parts.validate(None if parts is adapters[0] else adapters[0])


def _recipe_fields(
    model: str | Path,
    digest: str | None,
    adapter: object,
    image_encoder: object,
    changes: PipelineChanges,
    adapters: Sequence[AdapterParts] = (),
) -> RecipeFields | None:
    """Return the fields of a `Recipe` that load this model again; None where a part has no name or path."""
    second = second_adapter_fields(adapters) if adapters else {}
    if second is None:
        return None
    fields = {**changes.as_recipe_fields(), **second}
    parts = {"model": model, "adapter": adapter, "image_encoder": image_encoder}
    for name, given in parts.items():
        part = next(iter(cast("Sequence[object]", given)), None) if isinstance(given, list | tuple) else given
        part = part.name if isinstance(part, Reference) else part
        if part is not None and not isinstance(part, str | Path):
            return None
        fields[name] = None if part is None else str(part)
    return fields if digest is None else {**fields, "model_sha256": digest}


def _validate_plain(card: ModelCard) -> None:
    validate_files(card, list_required_files(card))
    for error in find_network_conflicts(card):
        raise error


def load_pipeline(card: ModelCard, dtype: torch.dtype) -> "DiffusionPipeline":
    """Load the diffusers pipeline of a card, with the card's scheduler and without a watermark.

    Raises:
        ModelError: diffusers cannot load it.
    """
    from transformers.utils import logging

    # torchvision is not needed.
    with hide_warnings(logging):
        import_diffusers_class("StableDiffusionXLPipeline")
    try:
        pipe = _load_folder(card, dtype) if card.base is None else load_file(card, card.base, dtype)
    except InstantStyleError:
        raise
    # diffusers, transformers, safetensors and pickle report damaged files as any of these.
    except Exception as error:
        raise ModelError(f"{card.pipeline} cannot be loaded: {one_line(error, 300)}") from error
    if getattr(pipe, IMAGE_ENCODER, None) is not None:
        pipe.register_modules(**{IMAGE_ENCODER: None})
    if card.scheduler is not None:
        scheduler = import_diffusers_class(card.scheduler.name)
        pipe.scheduler = convert_scheduler(pipe.scheduler, scheduler, **card.scheduler.changes)
    return disable_watermark(pipe)


def disable_watermark(pipe: "DiffusionPipeline") -> "DiffusionPipeline":
    """Disable the invisible watermark, because it depends on which other packages are installed."""
    if hasattr(pipe, "watermark"):
        pipe.watermark = None
    return pipe


def _load_folder(card: ModelCard, dtype: torch.dtype) -> "DiffusionPipeline":
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline
    from diffusers.utils.import_utils import is_accelerate_available

    source, variant = _find_source(card)
    return DiffusionPipeline.from_pretrained(
        source,
        dtype=dtype,
        variant=variant,
        revision=card.pipeline_revision,
        local_files_only=Path(source).is_dir(),
        low_cpu_mem_usage=is_accelerate_available(),
        **list_left_out(Path(source)),
        **({"unet": _load_unet(card, dtype)} if card.unet else {}),
    )


def _find_source(card: ModelCard) -> tuple[str, str | None]:
    """Return the folder or hub id to load, and the variant: that of the files which `list_required_files` lists."""
    is_fixed = card.pipeline_revision is not None or Path(card.pipeline).is_dir()
    # Of a branch, the newest version is fetched where the hub can be reached.
    local = find_local_pipeline(card) if is_fixed or why_unreachable() else None
    if local is not None:
        return str(local[0]), local[1]
    return card.pipeline, card.variant or find_hub_variant(card.pipeline, card.pipeline_revision)


def _load_unet(card: ModelCard, dtype: torch.dtype) -> "UNet2DConditionModel":
    """Load the UNet that replaces the pipeline's own: the same config with other weights."""
    from safetensors.torch import load_file

    assert card.unet is not None
    config = fetch_file(card.pipeline, "unet/config.json", card.pipeline_revision)
    unet_class = import_diffusers_class("UNet2DConditionModel")
    unet = unet_class.from_config(unet_class.load_config(config)).to(dtype)
    unet.load_state_dict(load_file(fetch_file(card.unet.repo, card.unet.file, card.unet.revision)))
    return unet.eval()
