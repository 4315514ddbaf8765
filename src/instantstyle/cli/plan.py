"""What `instantstyle generate --plan` prints: all that a drawing would load, and the memory it takes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .console import gigabytes

if TYPE_CHECKING:
    from ..models.load_plan import Plan


def show(plan: "Plan", model: str) -> None:
    """One line for each file of weights, then blocks and tensors, then the sum."""
    from ..models.required_files import missing
    from ..unet.blocks import format_blocks

    dtype = str(plan.dtype).removeprefix("torch.")
    print(f"device {plan.device}, dtype {dtype}")
    for part in plan.parts:
        where = str(part.item.path) if part.item.path else f"MISSING, {part.item.place}/{part.item.file}"
        print(f"{part.item.part}: {where} ({gigabytes(part.item.size)} on disk{_held(part.memory)})")
    if absent := missing(plan.items):
        print(f"missing: {len(absent)} files; `instantstyle doctor {model}` lists them and how to get them")
    print(f"blocks: {format_blocks(plan.blocks) or 'none'}")
    read = f", {gigabytes(plan.adapter_bytes)} read with the projection" if plan.adapter_bytes else ""
    print(f"adapter tensors: {len(plan.tensors)}{_ends(plan.tensors)}{read}")
    print(f"style: {gigabytes(plan.style_bytes)} of keys and values")
    print(f"memory: {gigabytes(plan.memory)} for weights and style; what the drawing takes comes on top")


def _held(memory: int) -> str:
    return f", {gigabytes(memory)} in memory" if memory else ""


def _ends(names: Sequence[str]) -> str:
    return f" ({names[0]} … {names[-1]})" if names else ""
