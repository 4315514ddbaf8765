"""What `--plan` prints: the files that would be loaded, and the memory they take."""

from typing import TYPE_CHECKING

from .console import format_size
from .recipe_options import OptionValues, build_recipe

if TYPE_CHECKING:
    from ..models.load_plan import LoadPlan

_HUB_OPTIONS = ("vae", "motion_adapter", "redux_model")
"""Options whose recipe would hold a SHA-256, for which a hub id is downloaded: a plan needs none."""


def print_plan(values: OptionValues, device: str | None, count: int = 1) -> None:
    """Print what generating would load: a line for each file of weights, the tensors, the sum.

    Args:
        values: Parsed values by option name. The recipe of them is validated first.
        device: A torch device; None for a GPU if there is one.
        count: Number of images.

    Raises:
        InstantStyleError: The recipe is not valid, or its model is not known.
    """
    from ..generation.load import plan_for
    from ..generation.validate import validate
    from ..recipe_types import format_selection
    from ..unet.blocks import format_blocks

    named = {name: {"name": name_on_hub} for name in _HUB_OPTIONS if (name_on_hub := values.get(name))}
    recipe = build_recipe({**values, **dict.fromkeys(named)}, **named)
    validate(recipe, count=count)
    plan = plan_for(recipe, device)
    print(f"device {plan.device}, dtype {str(plan.dtype).removeprefix('torch.')}")
    for prefix, weights in {"": plan.weights, "second ": plan.second_weights}.items():
        for part in weights:
            where = str(part.file.path) if part.file.path else f"MISSING, {part.file.location}/{part.file.file}"
            memory = f", {format_size(part.num_bytes)} in memory" if part.num_bytes else ""
            print(f"{prefix}{part.file.part}: {where} ({format_size(part.file.num_bytes)} on disk{memory})")
    _print_missing(plan, recipe.model)
    for prefix, each in {"": plan, "second ": plan.second}.items():
        if each is None:
            continue
        print(f"{prefix}blocks: {format_blocks(each.blocks) or 'none'}")
        names = f" ({each.tensors[0]} … {each.tensors[-1]})" if each.tensors else ""
        read = f", {format_size(each.adapter_bytes)} read with the projection" if each.adapter_bytes else ""
        print(f"{prefix}adapter tensors: {len(each.tensors)}{names}{read}")
        print(f"{prefix}style: {format_size(each.style_bytes)} of keys and values")
    for lora in recipe.styling_loras:
        print(f"{lora.name}: blocks {format_selection(lora.blocks)}")
    if recipe.redux_references:
        count = len(recipe.redux_references)
        blocks = f"{recipe.redux_scale:g} in blocks {format_selection(recipe.redux_blocks)}"
        print(f"redux: {count} reference{'s' * (count > 1)}, weight {blocks}")
    print(f"memory: {format_size(plan.num_bytes)} for weights and style; activations come on top")


def _print_missing(plan: "LoadPlan", model: str) -> None:
    """Print how many files are missing, and how to get them."""
    from ..models.load_plan import CHANGED_PARTS
    from ..models.redux_files import REDUX_PARTS
    from ..models.required_files import download_commands, list_missing

    absent = list_missing([*plan.files, *plan.second_files])
    added = [file for file in absent if file.part in (*CHANGED_PARTS.values(), *REDUX_PARTS)]
    if count := len(absent) - len(added):
        print(f"missing: {count} files; `instantstyle doctor {model}` lists them and how to get them")
    if added:
        commands = " && ".join(download_commands(added))
        print(f"missing: {len(added)} files; the first run downloads them, as does `{commands}`")
