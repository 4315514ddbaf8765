"""Published weights of whole blocks: eases over all blocks of a network, and tables for SDXL and SD1.5.

ComfyUI_IPAdapter_plus numbers the transformer blocks of a UNet in execution order, from 0 (down, middle, up): its
`transformer_index`, which ComfyUI counts up after each of them. All layers of a block have its weight.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .blocks import Block, BlockWeights

COMFYUI = "github.com/cubiq/ComfyUI_IPAdapter_plus at 9d076a3"

WEAK = 0.2
"""Factor on the weight of the blocks that `weak-…` and `strong-middle` weaken."""


@dataclass(frozen=True)
class Ease:
    """Weights over the blocks of any network.

    Attributes:
        weigh: Function from a block, its number i from 0 and the number L of all blocks to the weight of the block.
        formula: The function in words.
        stage: Stage without which the ease is the same for all blocks; None for none.
    """

    weigh: Callable[[Block, int, int], float]
    formula: str
    stage: str | None = None


def _from_share(share: float) -> float:
    """Map 0..1 to 0.05..1: no block is left out."""
    return 0.05 + 0.95 * share


def _from_middle(number: int, count: int) -> float:
    """Return the distance of a block from the middle of all, 0..1."""
    return abs(number - count / 2) / (count / 2)


def _weaken(*stages: str) -> Callable[[Block, int, int], float]:
    return lambda block, number, count: WEAK if block.stage in stages else 1.0


EASES = {
    "ease-in": Ease(lambda _, i, n: _from_share(1 - i / n), "0.05 + 0.95 (1 − i/L): strongest in the first block"),
    "ease-out": Ease(lambda _, i, n: _from_share(i / n), "0.05 + 0.95 i/L: strongest in the last block"),
    "ease-in-out": Ease(
        lambda _, i, n: _from_share(1 - _from_middle(i, n)),
        "0.05 + 0.95 (1 − |i − L/2| / (L/2)): strongest in the middle",
    ),
    "reverse-in-out": Ease(
        lambda _, i, n: _from_share(_from_middle(i, n)), "0.05 + 0.95 |i − L/2| / (L/2): strongest at both ends"
    ),
    "weak-input": Ease(_weaken("down_blocks"), "0.2 in the down blocks, else 1", "down_blocks"),
    "weak-middle": Ease(_weaken("mid_block"), "0.2 in the middle block, else 1", "mid_block"),
    "weak-output": Ease(_weaken("up_blocks"), "0.2 in the up blocks, else 1", "up_blocks"),
    "strong-middle": Ease(_weaken("down_blocks", "up_blocks"), "1 in the middle block, else 0.2", "mid_block"),
}
"""Eases by name, from CrossAttentionPatch.py of ComfyUI_IPAdapter_plus; block i of L in execution order, from 0."""

EASE_SOURCE = f"{COMFYUI}, CrossAttentionPatch.py"


def ease_weights(blocks: Sequence[Block]) -> dict[str, BlockWeights]:
    """Compute the weights of every ease; a diffusion transformer has none of those that weigh the stages of a UNet.

    Args:
        blocks: All blocks of a network, in execution order.

    Returns:
        Weights by block, by name of the ease.
    """
    return {
        name: {block: ease.weigh(block, number, len(blocks)) for number, block in enumerate(blocks)}
        for name, ease in EASES.items()
        if ease.stage is None or any(block.stage == ease.stage for block in blocks)
    }


@dataclass(frozen=True)
class WeightTable:
    """Weights that were published for the blocks of one family.

    Attributes:
        weights: Weights by number of the block in execution order, from 0.
        source: Where they were published.
    """

    weights: Mapping[int, float]
    source: str


def _comfyui(weight_type: str, weights: Mapping[int, float]) -> WeightTable:
    return WeightTable(weights, f"{COMFYUI}, IPAdapterPlus.py: {weight_type!r}")


def _equal(*numbers: int) -> dict[int, float]:
    return dict.fromkeys(numbers, 1.0)


SDXL_TABLES = {
    "style-transfer": _comfyui("style transfer", _equal(6)),
    "composition": _comfyui("composition", _equal(3)),
    "strong-style-transfer": _comfyui("strong style transfer", _equal(0, 1, 2, 4, 5, 6, 7, 8, 9, 10)),
    "style-and-composition": _comfyui("style and composition", _equal(3, 6)),
    "strong-style-and-composition": _comfyui("strong style and composition", _equal(*range(11))),
}
"""Blocks 0–3 down, 4 middle, 5–10 up: 3 is `down_blocks.2.attentions.1`, 6 is `up_blocks.0.attentions.1`."""

SD15_TABLES = {
    "style-transfer": _comfyui("style transfer", _equal(0, 1, 2, 3, 9, 10, 11, 12, 13, 14, 15)),
    "composition": _comfyui("composition", {4: 0.25, 5: 1.0}),
    "strong-style-transfer": _comfyui("strong style transfer", _equal(0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
    "style-and-composition": _comfyui(
        "style and composition", {**_equal(0, 1, 2, 3), 4: 0.25, **_equal(5, 9, 10, 11, 12, 13, 14, 15)}
    ),
    "strong-style-and-composition": _comfyui("strong style and composition", _equal(*range(16))),
}
"""Blocks 0–5 down, 6 middle, 7–15 up: 4 and 5 are `down_blocks.2.attentions.0–1`, 9 is `up_blocks.1.attentions.2`."""
