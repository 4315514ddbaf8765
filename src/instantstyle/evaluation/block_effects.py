"""Effects of blocks, or of layers inside them, on the scores of a probe, and the roles that they propose."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..unet.blocks import BlockOrLayer

NET = "net"
"""look + min(0, subject), per reference: what a block adds to the look, less what it costs in the subject."""
MIN_LOOK_SHARE = 0.25
"""Share of the largest effect on the look below which a block is no style block, however little it costs."""
RESAMPLES = 2000  # of the bootstrap: shares are then accurate to about 0.02


@dataclass(frozen=True)
class Effect:
    """The effect of a block on one score, as the mean over references.

    Attributes:
        alone: Effect where only this block acts, against no reference.
        off: Loss where this block alone is left out, against all blocks.
        low: Lower end of the 95 % bootstrap interval of the effect.
        high: Upper end of the interval.
        first: Share of resamples in which no block's effect is larger.
    """

    alone: float
    off: float
    low: float
    high: float
    first: float

    @property
    def effect(self) -> float:
        """The mean of `alone` and `off`."""
        return (self.alone + self.off) / 2


Effects = Mapping[str, Mapping[BlockOrLayer, Effect]]
"""Effects by score (`look`, …), then by block or layer."""


@dataclass(frozen=True)
class ProposedRole:
    """Blocks that are proposed for a role.

    Attributes:
        blocks: The blocks or layers, that with the largest effect first.
        confidence: Share of resamples in which that block has the largest effect; None for a single
            reference, which cannot be resampled.
    """

    blocks: tuple[BlockOrLayer, ...]
    confidence: float | None


def rank_blocks(
    alone: Float[Tensor, "block reference"], off: Float[Tensor, "block reference"], seed: int = 0
) -> list[Effect]:
    """Compute the effect of each block with its bootstrap interval over references.

    Args:
        alone: Effect of each block alone, for each reference.
        off: Loss without each block, for each reference.
        seed: Seed of the bootstrap.

    Returns:
        An effect for each block. Tied blocks share the first place of a resample.
    """
    effects = (alone + off) / 2
    count = effects.shape[1]
    picks = torch.randint(count, (RESAMPLES, count), generator=torch.Generator().manual_seed(seed))
    resampled = effects[:, picks].mean(-1)
    leads = (resampled == resampled.amax(0)).float()
    first = (leads / leads.sum(0)).mean(1)
    low, high = resampled.quantile(torch.tensor([0.025, 0.975]), dim=1)
    columns = alone.mean(1), off.mean(1), low, high, first
    return [Effect(*row) for row in torch.stack(columns, 1).tolist()]


def propose_roles(effects: Effects, references: int) -> dict[str, ProposedRole]:
    """Propose blocks for the roles `style` and `layout`.

    `layout` goes by the effect on the layout. `style` goes by the net effect among the blocks with a
    sufficient effect on the look; if each of those costs more than it adds, by the look alone.

    Args:
        effects: Effects by score and block.
        references: Number of references.

    Returns:
        Proposals by role; roles for which no block has a significant effect are left out.
    """
    look = effects["look"]
    least = MIN_LOOK_SHARE * max(effect.effect for effect in look.values())
    candidates = {
        block: effect
        for block, effect in effects.get(NET, look).items()
        if look[block].low > 0 and look[block].effect >= least
    }
    proposals = {
        "style": propose_role(candidates, references) or propose_role(look, references),
        "layout": propose_role(effects["layout"], references),
    }
    return {role: proposal for role, proposal in proposals.items() if proposal}


def propose_role(effects: Mapping[BlockOrLayer, Effect], references: int) -> ProposedRole | None:
    """Propose the block with the largest effect, and those with at least half of that effect.

    Args:
        effects: Effects by block.
        references: Number of references.

    Returns:
        The blocks whose intervals lie above zero; None if that of the first block does not.
    """
    if not effects:
        return None
    order = sorted(effects, key=lambda block: -effects[block].effect)
    least = effects[order[0]].effect / 2
    chosen = [block for block in order if effects[block].effect >= least and effects[block].low > 0]
    if not chosen or chosen[0] != order[0]:
        return None
    return ProposedRole(tuple(chosen), effects[order[0]].first if references > 1 else None)
