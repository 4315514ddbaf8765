"""Load the model that recipes name, or plan what would be loaded."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..imaging.control_image import require_library
from ..recipe import Recipe
from ..recipe_types import Control, Dtype, Reference
from ..utils.device import pick_device
from .adapter_fit import list_adapter_blocks
from .model_parts import ModelParts
from .sources import SourceCache
from .validate import check_packages, find_family
from .weights import check_weights

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle
    from ..models.load_plan import LoadPlan


def load_for(
    recipe: Recipe,
    *others: Recipe,
    device: str | None = None,
    plain: bool | None = None,
    sources: SourceCache | None = None,
) -> "InstantStyle":
    """Load the model that recipes name.

    Args:
        recipe: The recipe whose model, adapter, image encoder, dtype and control are loaded. With an image to
            start from, the model is an image-to-image pipeline, unless that is inverted; with a motion adapter it is
            AnimateDiff's.
        *others: Further recipes of the same model.
        device: A torch device; None for a GPU if there is one.
        plain: Whether to load neither adapter nor image encoder. None decides by `is_plain`; give it where
            the style files are not on this machine.
        sources: Cache with the files that `validate` decoded.

    Returns:
        The model on the device.

    Raises:
        ModelError: The model cannot be found or loaded.
        ModelError: FLUX.1 Redux is missing and cannot be downloaded.
        CheckpointError: The adapter or image encoder does not fit.
        JobError: There is no such device.
        MissingExtra: A package is not installed that the recipes need; nothing is loaded.
    """
    # Also where another machine has validated them.
    for each in (recipe, *others):
        check_packages(each)
    if recipe.image:
        fetch_controlnets([recipe.control], recipe.model)
    sources = SourceCache() if sources is None else sources
    check_redux_files(recipe, *others)
    if plain is None:
        plain = all(is_plain(each, sources) for each in (recipe, *others))
    styled = load_model(ModelParts.of(recipe), device, plain=plain, dtype=recipe.dtype)
    if recipe.image is None:
        return styled
    from ..models.image_to_image import image_to_image_pipeline, text_to_image_pipeline

    if recipe.inversion:
        return text_to_image_pipeline(styled, recipe.control)
    return image_to_image_pipeline(styled, recipe.control)


def load_model(
    parts: ModelParts, device: str | None = None, *, plain: bool = False, dtype: Dtype | None = None
) -> "InstantStyle":
    """Load a model.

    Args:
        parts: The model and its parts.
        device: A torch device; None for a GPU if there is one.
        plain: Whether to load neither adapter nor image encoder.
        dtype: Name of a torch dtype; None for the fastest on the device.

    Returns:
        The model on the device.

    Raises:
        ModelError: The model cannot be found or loaded.
        ModelError: A LoRA, VAE or motion adapter does not fit, or it or an adapter is another file than the recipe was
            made with.
        CheckpointError: The adapter or image encoder does not fit.
        JobError: There is no such device.
    """
    device = pick_device(device)
    if parts.adapter and not plain:
        check_weights("adapter", parts.adapter)
    import torch

    from ..models import load

    digest = parts.model_sha256
    return load(
        Reference(name=parts.model, sha256=digest) if digest else parts.model,
        **parts.adapters,
        **parts.changes,
        plain=plain,
        device=device,
        dtype=getattr(torch, dtype) if dtype else None,
    )


def fetch_controlnets(controls: Sequence[Control], model: str) -> None:
    """Fetch the ControlNets of a model before it is loaded, where its family is known; `"none"` stands for none.

    Args:
        controls: What they read.
        model: Name of the model.

    Raises:
        ModelError: There is no such ControlNet for the model, or it is not available.
        MissingExtra: The library is not installed that prepares what a ControlNet reads.
    """
    wanted: list[Control] = [control for control in controls if control != "none"]
    for control in wanted:
        require_library(control)
    if not wanted or (architecture := find_family(model)) is None:
        return
    from ..models.image_to_image import fetch_controlnet

    for control in wanted:
        fetch_controlnet(control, architecture.name)


def check_redux_files(*recipes: Recipe) -> None:
    """Check that the weights of FLUX.1 Redux that recipes act by, and its image encoder, can be loaded.

    Raises:
        CheckpointError: The folder of the image encoder cannot be read.
        ModelError: Files are missing and cannot be downloaded.
    """
    acting = [recipe for recipe in recipes if recipe.redux_references and recipe.redux_scale]
    for parts in dict.fromkeys((recipe.redux_model, recipe.redux_image_encoder) for recipe in acting):
        from ..models.redux_files import validate_redux

        validate_redux(*parts)


def is_plain(recipe: Recipe, sources: SourceCache | None = None) -> bool:
    """Check whether a recipe needs neither adapter nor image encoder.

    That is so if all its references are saved styles that, combined as in the recipe, are bound for the
    model's architecture, and if the recipe names no adapter and no encoder.

    Args:
        recipe: The recipe.
        sources: Cache with decoded files. The style files are read.

    Raises:
        StyleError: A style cannot be found, read or mixed.
        ModelError: The model cannot be found.
    """
    scale = recipe.content_scale
    if scale == "auto" or recipe.adapter or recipe.image_encoder or recipe.content or recipe.content_references:
        return False
    if recipe.texture_references or recipe.second_adapter or (recipe.image and recipe.image_scale):
        return False
    sources = SourceCache() if sources is None else sources
    files = recipe.style_files()
    if not files:
        return bool(recipe.styling_loras or recipe.redux_references)
    if any(sources.resolve(file.name).kind == "image" for file in files):
        return False
    from ..models.network import find_architecture

    architecture = find_architecture(recipe.model)
    groups = (recipe.references, recipe.layout_references, recipe.negative_references)
    styles = [sources.read_mix(group) for group in groups if group]
    if recipe.references:
        styles[0] = styles[0].with_removal(scale, recipe.removal, recipe.mask_quantile)
        if styles[0].texture:
            styles[0] = styles[0].with_blend(recipe.colour_scale, recipe.texture_scale)
    return architecture is not None and all(style.bound_for(architecture.name) is not None for style in styles)


def plan_for(recipe: Recipe, device: str | None = None) -> "LoadPlan":
    """Plan what `load_for` would load and generating would read, without loading anything.

    Args:
        recipe: The recipe.
        device: A torch device; None for a GPU if there is one.

    Returns:
        Files, memory, and the tensors of the adapter.

    Raises:
        InstantStyleError: As in `load_for`, as far as it can be found without loading.
    """
    device = pick_device(device)
    from ..models.load_plan import add_redux_files, plan

    planned = plan(
        recipe.model,
        adapter=recipe.adapter.name if recipe.adapter else None,
        image_encoder=recipe.image_encoder,
        blocks=list_adapter_blocks(recipe),
        device=device,
        # Those that act in blocks too: their files are read, and stay in memory.
        **{**ModelParts.of(recipe).changes, "loras": recipe.loras},
        plain=is_plain(recipe),
    )
    if recipe.redux_references:
        from ..models.redux_files import list_redux_files

        planned = add_redux_files(planned, list_redux_files(recipe.redux_model, recipe.redux_image_encoder))
    if recipe.second_adapter is None:
        return planned
    second = plan(
        recipe.model,
        adapter=recipe.second_adapter.name,
        image_encoder=recipe.second_image_encoder,
        blocks=[recipe.second_blocks],
        device=device,
    )
    return replace(planned, second=second)
