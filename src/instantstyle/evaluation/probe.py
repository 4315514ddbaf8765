"""Probe the blocks of a network: generate with each block alone and with each left out, and score the images.

For a score s and a block b, from equal seeds:

    effect = ½ [ (s(only b) − s(no reference)) + (s(all) − s(all but b)) ]

This is what b adds where no other block acts, averaged with what is lost without it where all others act: the
two ends of its Shapley value. Effects are computed per reference; a bootstrap over references gives the
confidence of a rank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import JobError
from ..imaging.grid import contact_sheet, heat_map
from ..imaging.png_metadata import save_png
from ..metrics.scorers import find_score
from ..unet.blocks import Block
from ..utils.csv_table import write_csv
from ..utils.result_journal import ResultJournal
from .experiment import NO_REFERENCE, Arm, Experiment, OnCell, open_journal, scores_by_reference

ALL_BLOCKS = Arm("all blocks", {"blocks": "all"})
SCORES = ("look", "layout", "subject")
"""Scores of a block: the reference's look, its layout, and whether the prompted object is still there."""
NET = "net"
"""look + min(0, subject), per reference: what a block adds to the look, less what it costs in the subject."""
MIN_LOOK_SHARE = 0.25
"""Share of the largest effect on the look below which a block is no style block, however little it costs."""
RESAMPLES = 2000  # of the bootstrap: shares are then accurate to about 0.02
_COLUMNS = ("effect", "low", "high", "alone", "off", "first")


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


Effects = Mapping[str, Mapping[Block, Effect]]
"""Effects by score (`look`, …), then by block."""


@dataclass(frozen=True)
class ProposedRole:
    """Blocks that are proposed for a role.

    Attributes:
        blocks: The blocks, that with the largest effect first.
        confidence: Share of resamples in which that block has the largest effect; None for a single
            reference, which cannot be resampled.
    """

    blocks: tuple[Block, ...]
    confidence: float | None


@dataclass(frozen=True)
class ProbeResult:
    """The result of a probe: effects, proposed roles by name, and the path of the file that holds both."""

    effects: Effects
    roles: Mapping[str, ProposedRole]
    path: Path


def probe(experiment: Experiment, on_cell: OnCell | None = None) -> ProbeResult:
    """Generate what is missing, rank the blocks and write the results into the experiment's folder.

    The files are `probe.json`, `probe.csv`, `heatmap.png` and `contact.png`.

    Args:
        experiment: References, prompts and scorers, which must score `look` and `layout`.
        on_cell: Called after each cell.

    Returns:
        Effects and proposed roles.

    Raises:
        JobError: The network has fewer than two blocks, the scorers give no `look` or `layout`, or the
            folder holds results of other settings.
    """
    blocks = experiment.styled.architecture.blocks
    if len(blocks) < 2:
        raise JobError("A probe compares blocks, and this network has fewer than two with attention.")
    journal = open_journal(experiment, "probe.json")
    experiment.run(probe_arms(blocks), journal, on_cell)
    effects = compute_effects(experiment, journal)
    roles = propose_roles(effects, len(experiment.references))
    journal.write(
        roles={role: _role_to_json(proposal, effects) for role, proposal in roles.items()},
        effects={
            score: {
                str(block): {name: round(getattr(effect, name), 4) for name in _COLUMNS}
                for block, effect in by_block.items()
            }
            for score, by_block in effects.items()
        },
    )
    _write_table(experiment.folder / "probe.csv", effects)
    _save_heat_map(experiment, effects)
    _save_contact_sheet(experiment)
    return ProbeResult(effects, roles, journal.path)


def probe_arms(blocks: Sequence[Block]) -> list[Arm]:
    """List the arms of a probe: no block, all blocks, each block alone, and all but each block."""
    return [NO_REFERENCE, ALL_BLOCKS, *map(_only, blocks), *map(_all_but, blocks)]


def compute_effects(experiment: Experiment, journal: ResultJournal) -> Effects:
    """Compute the effect of every block on look, layout, subject and net.

    Args:
        experiment: The experiment.
        journal: Its journal, with all cells of `probe_arms`.

    Returns:
        Effects by score and block. Each score is the first of its name; `subject` and `net` are missing if
        no scorer gives `subject`.

    Raises:
        JobError: There is no score of the look or of the layout.
    """
    names = [name for cell in journal.cells.values() for name in cell]
    scores = {score: name for score in SCORES if (name := find_score([score], names))}
    if not {"look", "layout"} <= set(scores):
        raise JobError("A probe needs scores for look and layout; these scorers do not give both.")
    blocks = experiment.styled.architecture.blocks

    def means(arm: Arm, name: str) -> Float[Tensor, " reference"]:
        rows = scores_by_reference(experiment, journal, arm, name).values()
        return torch.tensor([sum(row) / len(row) for row in rows])

    differences: dict[str, tuple[Tensor, Tensor]] = {}  # alone and off, [block reference] each
    for score, name in scores.items():
        plain, every = means(NO_REFERENCE, name), means(ALL_BLOCKS, name)
        alone = torch.stack([means(_only(block), name) - plain for block in blocks])
        off = torch.stack([every - means(_all_but(block), name) for block in blocks])
        differences[score] = alone, off
    if "subject" in differences:
        (alone, off), (subject_alone, subject_off) = differences["look"], differences["subject"]
        differences[NET] = alone + subject_alone.clamp(max=0), off + subject_off.clamp(max=0)
    return {score: dict(zip(blocks, rank_blocks(*pair), strict=True)) for score, pair in differences.items()}


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


def propose_role(effects: Mapping[Block, Effect], references: int) -> ProposedRole | None:
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


def _only(block: Block) -> Arm:
    return Arm(f"only {block}", {"blocks": {str(block): 1.0}})


def _all_but(block: Block) -> Arm:
    return Arm(f"without {block}", {"blocks": {"all": 1.0, str(block): 0.0}})


def _role_to_json(proposal: ProposedRole, effects: Effects) -> dict[str, object]:
    return {
        "blocks": [str(block) for block in proposal.blocks],
        "confidence": proposal.confidence,
        "effects": {
            str(block): {score: round(by_block[block].effect, 4) for score, by_block in effects.items()}
            for block in proposal.blocks
        },
    }


def _write_table(path: Path, effects: Effects) -> None:
    """Write the blocks in descending order of their effect on the look."""
    rows = [["block", *(f"{score} {name}" for score in effects for name in _COLUMNS)]]
    for block in sorted(effects["look"], key=lambda block: -effects["look"][block].effect):
        values = [getattr(by_block[block], name) for by_block in effects.values() for name in _COLUMNS]
        rows.append([str(block), *(f"{value:.4f}" for value in values)])
    write_csv(path, rows)


def _save_heat_map(experiment: Experiment, effects: Effects) -> None:
    """Save the effects of the blocks (rows) on the scores, alone and off (columns)."""
    blocks = experiment.styled.architecture.blocks
    columns = [(score, name) for score in effects for name in ("alone", "off")]
    values = [[getattr(effects[score][block], name) for score, name in columns] for block in blocks]
    image = heat_map([*map(str, blocks)], [f"{score}: {name}" for score, name in columns], values)
    save_png(image, experiment.folder / "heatmap.png", force=True)


def _save_contact_sheet(experiment: Experiment) -> None:
    """Save the images of the first prompt: blocks alone (rows), references (columns)."""
    references = experiment.references
    arms = [NO_REFERENCE, ALL_BLOCKS, *map(_only, experiment.styled.architecture.blocks)]
    sheet = contact_sheet(
        ["reference", *(arm.name for arm in arms)],
        [reference.name for reference in references],
        [
            [reference.image for reference in references],
            *([experiment.load_images(arm, number)[0] for number in range(len(references))] for arm in arms),
        ],
    )
    save_png(sheet, experiment.folder / "contact.png", force=True)
