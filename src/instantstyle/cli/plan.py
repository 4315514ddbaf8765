"""What `instantstyle generate --plan` prints: the files that would be loaded, and the memory they take."""

from typing import TYPE_CHECKING

from .console import format_size

if TYPE_CHECKING:
    from ..recipe import Recipe


def print_plan(recipe: "Recipe", device: str | None) -> None:
    """Print what generating a recipe would load: a line for each file of weights, the tensors, the sum.

    Args:
        recipe: The recipe, which is validated first.
        device: A torch device; None for a GPU if there is one.

    Raises:
        InstantStyleError: The recipe is not valid, or its model is not known.
    """
    from ..generation.load import plan_for
    from ..generation.validate import validate
    from ..models.required_files import list_missing
    from ..unet.blocks import format_blocks

    validate(recipe)
    plan = plan_for(recipe, device)
    print(f"device {plan.device}, dtype {str(plan.dtype).removeprefix('torch.')}")
    for part in plan.weights:
        where = str(part.file.path) if part.file.path else f"MISSING, {part.file.location}/{part.file.file}"
        memory = f", {format_size(part.num_bytes)} in memory" if part.num_bytes else ""
        print(f"{part.file.part}: {where} ({format_size(part.file.num_bytes)} on disk{memory})")
    if plan.second:
        for file in (file for file in plan.second.files if file.part == "adapter"):
            print(f"second adapter: {file.path or f'MISSING, {file.location}/{file.file}'}")
    if absent := list_missing([*plan.files, *(plan.second.files if plan.second else ())]):
        print(f"missing: {len(absent)} files; `instantstyle doctor {recipe.model}` lists them and how to get them")
    for prefix, each in {"": plan, "second ": plan.second}.items():
        if each is None:
            continue
        print(f"{prefix}blocks: {format_blocks(each.blocks) or 'none'}")
        names = f" ({each.tensors[0]} … {each.tensors[-1]})" if each.tensors else ""
        read = f", {format_size(each.adapter_bytes)} read with the projection" if each.adapter_bytes else ""
        print(f"{prefix}adapter tensors: {len(each.tensors)}{names}{read}")
        print(f"{prefix}style: {format_size(each.style_bytes)} of keys and values")
    print(f"memory: {format_size(plan.num_bytes)} for weights and style; activations come on top")
