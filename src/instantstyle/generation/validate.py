"""Validate recipes before the seconds that loading a model takes."""

from functools import lru_cache
from pathlib import Path

from ..architectures import ARCHITECTURES
from ..dit.families import FLUX, FLUX_INSTANTX
from ..errors import InstantStyleError, JobError, ModelError, StyleError
from ..imaging.control_image import check_draws_step, require_library
from ..recipe import BLOCK_FIELDS, REDUX_FIELDS, Recipe
from ..recipe_types import Lora
from ..unet.architectures import Architecture
from ..unet.blocks import Block, BlockSpec
from ..unet.probe_file import resolve_block_spec
from ..utils.text import shorten
from .adapter_fit import check_fit
from .idle_fields import list_unused_fields
from .keep_content import fill_in_start
from .request_checks import check_request
from .sources import SourceCache


def validate(*recipes: Recipe, sources: SourceCache | None = None, count: int = 1) -> None:
    """Validate a request as far as that is possible without a model.

    Args:
        *recipes: One recipe, or all cells of a sweep. In a sweep, some cells may have no reference; fields that need
            one must act in another cell.
        sources: Cache for the decoded files. Pass it on to `load_for` and `generate`.
        count: Number of images of each recipe.

    Raises:
        JobError: A field is given that has no effect in any recipe, see `idle_fields`; or a strength is less than one
            step, or a UNet has true guidance.
        ImageError: A reference, mask or image cannot be read.
        StyleError: A saved style cannot be found or read, or a LoRA file has no layers in its blocks, or
            a method acts in the layers of a UNet, and the model has a diffusion transformer.
        BlockError: A block selection is not valid, or the model, where known by name, has no such block.
        ModelError: There is no such scheduler, or no ControlNet for the model, where its family is known.
        MissingExtra: ControlNet, LoRA or scheduler need a package that is not installed.
    """
    sources = SourceCache() if sources is None else sources
    check_request(*recipes, sources=sources, count=count)
    validate_inputs(*recipes, sources=sources)


def validate_inputs(*recipes: Recipe, sources: SourceCache | None = None) -> None:
    """Validate the files and blocks that recipes name, for example those of existing images.

    Args:
        *recipes: The recipes.
        sources: Cache for the decoded files.

    Raises:
        ImageError: A reference, mask or image cannot be read.
        JobError: A strength is less than one step, where the model's number of steps is known, or a UNet has true
            guidance.
        StyleError: A saved style cannot be found or read, or a LoRA file has no layers in its blocks, or
            a method acts in the layers of a UNet, and the model has a diffusion transformer.
        BlockError: A block selection is not valid, or the model, where known by name, has no such block.
        ModelError: There is no such scheduler, or no ControlNet for the model, where its family is known.
        MissingExtra: ControlNet, LoRA or scheduler need a package that is not installed.
    """
    sources = SourceCache() if sources is None else sources
    # Names in order of first use, so that the first error is that of the first file.
    for file in dict.fromkeys(file for recipe in recipes for file in recipe.style_files()):
        sources.read(file)
    readers = {"mask": sources.read_mask, "image": sources.read_image, "colour_image": sources.read_image}
    images = [(getattr(recipe, field), read) for recipe in recipes for field, read in readers.items()]
    images += [(file, sources.read_image) for recipe in recipes for file in recipe.redux_references]
    for file, read in dict.fromkeys((file, read) for file, read in images if file):
        read(file)
    for recipe in recipes:
        # A default that has no effect may be a role that the model lacks.
        unchecked = {*REDUX_FIELDS, *list_unused_fields(recipe)}
        for field in (name for name in BLOCK_FIELDS if name not in unchecked):
            validate_blocks(getattr(recipe, field), recipe.model)
        if recipe.redux_references:
            _check_redux(recipe)
        for lora in recipe.loras:
            if lora.blocks is not None:
                validate_blocks(lora.blocks, recipe.model)
                _check_lora(lora, recipe.model)
        if recipe.image:
            _check_start(recipe)
        _check_methods(recipe)
    for recipe in recipes:
        check_packages(recipe)
        check_fit(recipe, sources)


def check_packages(recipe: Recipe) -> None:
    """Check that the packages are installed which what a recipe asks for needs beside its model.

    Raises:
        MissingExtra: One is not installed.
        ModelError: There is no such scheduler.
    """
    if recipe.image:
        require_library(recipe.control)
    if recipe.scheduler:
        from ..models.schedulers import validate_scheduler

        validate_scheduler(recipe.scheduler)
    if recipe.loras:
        from ..models.lora import require_peft

        require_peft(recipe.loras)


_UNET_FIELDS = ("hold_layout", "shared", "colour_transfer", "inversion")
"""Fields of methods that act in the layers of a UNet."""


def _check_methods(recipe: Recipe) -> None:
    """Check that the network of the model has the layers that the methods of a recipe act in, where it is known.

    Raises:
        JobError: It is a UNet, and the recipe has true guidance.
        ModelError: It is a diffusion transformer, and the scheduler is one for noise prediction.
        StyleError: It is a diffusion transformer, and a method acts in the layers of a UNet.
    """
    used = [name for name in _UNET_FIELDS if getattr(recipe, name)]
    used += ["A LoRA with blocks"] if recipe.styling_loras else []
    if used and (architecture := find_family(recipe.model)) and architecture.is_transformer:
        raise StyleError(
            f"{used[0]} acts in the layers of a UNet, and {recipe.model} has a diffusion transformer; leave it out."
        )
    merged = [lora for lora in recipe.loras if lora.blocks is None]
    if merged and (architecture := find_family(recipe.model)) and architecture.is_transformer:
        from ..models.lora import TRANSFORMER_ADVICE

        raise StyleError(f"{recipe.model} has a diffusion transformer. {TRANSFORMER_ADVICE}")
    if recipe.scheduler and (architecture := find_family(recipe.model)) and architecture.is_transformer:
        from ..models.schedulers import FLOW_MATCHING

        if not recipe.scheduler.startswith(FLOW_MATCHING):
            raise ModelError(
                f"scheduler {shorten(recipe.scheduler)} is for noise prediction, and {recipe.model} was trained with "
                "flow matching. Leave scheduler out for its own."
            )
    if (
        recipe.true_cfg_scale is not None
        and (architecture := find_family(recipe.model))
        and not architecture.is_transformer
    ):
        raise JobError(
            f"true_cfg_scale is for diffusion transformers whose own guidance is distilled, and {recipe.model} has a "
            "UNet, whose guidance is guidance_scale; leave it out."
        )


def _check_redux(recipe: Recipe) -> None:
    """Check that the model is one that FLUX.1 Redux is for, and that it has the blocks, where that is known.

    Raises:
        BlockError: The selection is not valid, or the network has no such block or role.
        JobError: A probe file cannot be read.
        StyleError: It is another model.
    """
    from ..models.redux_files import find_redux_conflict

    if error := find_redux_conflict(recipe.model):
        raise error
    blocks = resolve_block_spec(recipe.redux_blocks)
    architecture = find_family(recipe.model)
    # Redux acts in all blocks, also where the model's adapter does not.
    if architecture is not None and architecture.name in (FLUX.name, FLUX_INSTANTX.name):
        FLUX_INSTANTX.select_in_all_rows(blocks, "a ReduxStyle")


def _check_start(recipe: Recipe) -> None:
    """Check the settings of the image to start from, as far as the model's card and its network's config tell.

    Raises:
        JobError: The strength is less than one step.
        ModelError: There is no ControlNet for the model.
    """
    from ..models.image_to_image import check_control

    architecture = find_family(recipe.model)
    if architecture is None:
        return
    check_control(recipe.control, architecture.name)
    started = fill_in_start(recipe)
    steps = started.num_inference_steps or _find_steps(recipe.model)
    # diffusers rounds otherwise in pipelines with a transformer.
    if not architecture.is_transformer and isinstance(steps, int) and started.strength:
        check_draws_step(started.strength, steps)


def _check_lora(lora: Lora, model: str) -> None:
    """Check that a LoRA file has layers in its blocks, by its header and the model's card or its network's config.

    Raises:
        BlockError: The network has no such block.
        CheckpointError: The file cannot be read.
        StyleError: It has layers in other blocks only.
    """
    from ..loaders.lora_file import find_blocks, missing_layers_error
    from ..loaders.state_dict import open_state_dict

    architecture, path = find_family(model), Path(lora.name)
    # A file that is missing is reported where it is read: a service may have read it before.
    if architecture is None or not lora.weight or not path.is_file():
        return
    chosen = architecture.select(resolve_block_spec(lora.blocks, architecture))
    present = find_blocks(open_state_dict(path).shapes, architecture.blocks)
    if present and not present & {part if isinstance(part, Block) else part.block for part in chosen}:
        raise missing_layers_error(path, chosen, present)


# Each request of a service asks for the same model, whose network is built without weights to find it.
@lru_cache(maxsize=8)
def find_family(model: str) -> Architecture | None:
    """Find the family of a model; None where it is not known, or the model cannot be found, which loading reports.

    A service has loaded its model before it validates, and its folder may be gone.
    """
    from ..models.network import find_architecture

    try:
        return find_architecture(model)
    except InstantStyleError:
        return None


def _find_steps(model: str) -> object:
    """Find a model's own number of steps; None where its card has none, or the model cannot be found."""
    from ..models.resolve import find_card

    try:
        return find_card(model).defaults.get("num_inference_steps")
    except InstantStyleError:
        return None


def validate_blocks(blocks: BlockSpec, model: str) -> None:
    """Validate a block selection.

    Args:
        blocks: The selection. A probe file in it is read.
        model: Name of the model. Blocks are looked up only where this is the name of an architecture.

    Raises:
        BlockError: The selection is not valid, or the architecture has no such block or role.
        JobError: A probe file cannot be read.
    """
    architecture = next((known for known in ARCHITECTURES if known.name == model), None)
    blocks = resolve_block_spec(blocks, architecture)
    if architecture is not None:
        architecture.select(blocks)
