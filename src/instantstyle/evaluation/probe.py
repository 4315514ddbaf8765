"""Probe the blocks of a network: generate with each block alone and with each left out, and score the images.

For a score s and a block b, from equal seeds:

    effect = ½ [ (s(only b) − s(no reference)) + (s(all) − s(all but b)) ]

This is what b adds where no other block acts, averaged with what is lost without it where all others act: the
two ends of its Shapley value. Effects are computed per reference; a bootstrap over references gives the
confidence of a rank. A probe can descend to the layers inside chosen blocks, which take the place of blocks there.
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
from ..unet.architectures import Architecture
from ..unet.blocks import Block, BlockLayer, BlockOrLayer, BlockSpec, format_blocks
from ..utils.csv_table import write_csv
from ..utils.result_journal import ResultJournal
from .block_effects import NET, Effects, ProposedRole, propose_roles, rank_blocks
from .experiment import NO_REFERENCE, Arm, Experiment, OnCell, open_journal, scores_by_reference

ALL_BLOCKS = Arm("all blocks", {"blocks": "all"})
SCORES = ("look", "layout", "subject")
"""Scores of a block: the reference's look, its layout, and whether the prompted object is still there."""
_COLUMNS = ("effect", "low", "high", "alone", "off", "first")


@dataclass(frozen=True)
class ProbeResult:
    """The result of a probe: effects, proposed roles by name, and the path of the file that holds both."""

    effects: Effects
    roles: Mapping[str, ProposedRole]
    path: Path


def probe(experiment: Experiment, on_cell: OnCell | None = None, layers: BlockSpec | None = None) -> ProbeResult:
    """Generate what is missing, rank the blocks and write the results into the experiment's folder.

    The files are `probe.json`, `probe.csv`, `heatmap.png` and `contact.png`.

    Args:
        experiment: References, prompts and scorers, which must score `look` and `layout`.
        on_cell: Called after each cell.
        layers: The blocks whose layers are probed, instead of whole blocks; None for all blocks.

    Returns:
        Effects and proposed roles.

    Raises:
        BlockError: The network has no block of `layers`.
        JobError: There are fewer than two blocks or layers, the scorers give no `look` or `layout`, or the
            folder holds results of other settings.
    """
    parts = list_parts(experiment.styled.architecture, layers)
    # Without layers the settings are those of earlier versions, whose probes can be resumed.
    chosen = {} if layers is None else {"layers": list(map(str, parts))}
    journal = open_journal(experiment, "probe.json", **chosen)
    experiment.run(probe_arms(parts), journal, on_cell)
    effects = compute_effects(experiment, journal, parts)
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
    _save_heat_map(experiment, effects, parts)
    _save_contact_sheet(experiment, parts)
    return ProbeResult(effects, roles, journal.path)


def list_parts(architecture: Architecture, layers: BlockSpec | None = None) -> Sequence[BlockOrLayer]:
    """List what a probe compares: all blocks, or the layers inside chosen blocks.

    Args:
        architecture: The network.
        layers: The blocks whose layers are compared; None for all blocks.

    Raises:
        BlockError: The network has no such block.
        JobError: There are fewer than two blocks or layers.
    """
    if layers is None:
        if len(architecture.blocks) < 2:
            raise JobError("A probe compares blocks, and this network has fewer than two with attention.")
        return architecture.blocks
    chosen = architecture.select(layers)
    parts: list[BlockOrLayer] = []
    for part in chosen:
        if isinstance(part, Block):
            parts += [BlockLayer(part, number) for number in range(architecture.layer_counts.get(part, 0))]
        else:
            parts.append(part)
    if len(parts) < 2:
        raise JobError(
            f"A probe compares layers, and {format_blocks(chosen) or 'the selection'} has fewer than two; choose "
            "other blocks, or leave layers out to compare blocks."
        )
    return parts


def probe_arms(parts: Sequence[BlockOrLayer]) -> list[Arm]:
    """List the arms of a probe: no block, all blocks, each block or layer alone, and all but each of them."""
    return [NO_REFERENCE, ALL_BLOCKS, *map(_only, parts), *map(_all_but, parts)]


def compute_effects(experiment: Experiment, journal: ResultJournal, parts: Sequence[BlockOrLayer]) -> Effects:
    """Compute the effect of every block or layer on look, layout, subject and net.

    Args:
        experiment: The experiment.
        journal: Its journal, with all cells of `probe_arms`.
        parts: The blocks or layers.

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

    def means(arm: Arm, name: str) -> Float[Tensor, " reference"]:
        rows = scores_by_reference(experiment, journal, arm, name).values()
        return torch.tensor([sum(row) / len(row) for row in rows])

    differences: dict[str, tuple[Tensor, Tensor]] = {}  # alone and off, [block reference] each
    for score, name in scores.items():
        plain, every = means(NO_REFERENCE, name), means(ALL_BLOCKS, name)
        alone = torch.stack([means(_only(part), name) - plain for part in parts])
        off = torch.stack([every - means(_all_but(part), name) for part in parts])
        differences[score] = alone, off
    if "subject" in differences:
        (alone, off), (subject_alone, subject_off) = differences["look"], differences["subject"]
        differences[NET] = alone + subject_alone.clamp(max=0), off + subject_off.clamp(max=0)
    return {score: dict(zip(parts, rank_blocks(*pair), strict=True)) for score, pair in differences.items()}


def _only(block: BlockOrLayer) -> Arm:
    return Arm(f"only {block}", {"blocks": {str(block): 1.0}})


def _all_but(block: BlockOrLayer) -> Arm:
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


def _save_heat_map(experiment: Experiment, effects: Effects, parts: Sequence[BlockOrLayer]) -> None:
    """Save the effects of the blocks or layers (rows) on the scores, alone and off (columns)."""
    columns = [(score, name) for score in effects for name in ("alone", "off")]
    values = [[getattr(effects[score][block], name) for score, name in columns] for block in parts]
    image = heat_map([*map(str, parts)], [f"{score}: {name}" for score, name in columns], values)
    save_png(image, experiment.folder / "heatmap.png", force=True)


def _save_contact_sheet(experiment: Experiment, parts: Sequence[BlockOrLayer]) -> None:
    """Save the images of the first prompt: blocks or layers alone (rows), references (columns)."""
    references = experiment.references
    arms = [NO_REFERENCE, ALL_BLOCKS, *map(_only, parts)]
    sheet = contact_sheet(
        ["reference", *(arm.name for arm in arms)],
        [reference.name for reference in references],
        [
            [reference.image for reference in references],
            *([experiment.load_images(arm, number)[0] for number in range(len(references))] for arm in arms),
        ],
    )
    save_png(sheet, experiment.folder / "contact.png", force=True)
