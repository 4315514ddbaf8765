"""Modes: weights of blocks for each half of a batch with classifier-free guidance, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from .block_selection import split_spec
from .block_weights import COMFYUI
from .blocks import BlockOrLayer, BlockSpec, copy_spec


@dataclass(frozen=True)
class Mode:
    """A pair of weight tables, one for each half of a batch with classifier-free guidance."""

    conditional: Mapping[str, float]
    """Weights by role or table where the style acts in the conditional half."""
    unconditional: Mapping[str, float]
    """Weights by role or table where it acts in the unconditional half, so that guidance pushes away from it."""
    source: str


MODES = {
    "precise-style": Mode(
        {"style": 1.0},
        {"layout": 1.0},
        "ComfyUI IPAdapter Plus, 'style transfer precise'; needs guidance",
    ),
    "precise-layout": Mode(
        {"layout": 1.0},
        {"all": 0.1, "layout": 0.0},
        "after ComfyUI IPAdapter Plus, 'composition precise', which has style at full weight; needs guidance",
    ),
    "style-transfer-precise": Mode(
        {"style-transfer": 1.0},
        {"composition": 1.0},
        f"{COMFYUI}, IPAdapterPlus.py and CrossAttentionPatch.py: 'style transfer precise'; needs guidance",
    ),
    "composition-precise": Mode(
        {"composition": 1.0},
        {"all": 0.1, "style-transfer": 1.0, "composition": 0.0},
        f"{COMFYUI}, the same files: 'composition precise'; needs guidance",
    ),
}
"""Modes by name, for every family that has their roles or tables. Unlike a role, which is a selection of blocks, a
mode acts in both halves of the guided batch."""


def expand_modes(spec: object) -> tuple[BlockSpec, BlockSpec | None]:
    """Replace the modes in a block spec by their tables.

    Args:
        spec: A `BlockSpec`, in which modes may be joined with other names, listed, or mapped to weights.

    Returns:
        What is selected in the conditional half, and in the unconditional half; None for the latter, and the spec
        itself, without a mode.

    Raises:
        BlockError: It is not a `BlockSpec`.
    """
    entries = [(name.strip(), weight) for name, weight in split_spec(spec)]
    if not any(name in MODES for name, _ in entries):
        return copy_spec(spec), None
    conditional: dict[str | BlockOrLayer, float] = {}
    unconditional: dict[str | BlockOrLayer, float] = {}
    for name, weight in entries:
        mode = MODES.get(name)
        halves = [(conditional, mode.conditional), (unconditional, mode.unconditional)] if mode else []
        for half, table in halves or [(conditional, {name: 1.0})]:
            for part, share in table.items():
                # Removed first: of several entries for one block the later one applies.
                half.pop(part, None)
                half[part] = weight * share
    return conditional, unconditional
