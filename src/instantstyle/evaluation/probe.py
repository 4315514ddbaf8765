"""Which block carries the style in *this* network? Each transformer block on alone and off alone, scored.

For a score s and a block b, from equal seeds:

    effect = ½ [ (s(only b) − s(no reference)) + (s(all) − s(all but b)) ]

what b brings where nothing else acts, and what is lost with it where all else does (the two ends of its
Shapley value). Effects are made per reference; a bootstrap over references says how sure a rank is.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import JobError
from ..imaging.grid import contact_sheet, heat_map
from ..imaging.png_metadata import save_png
from ..metrics.scorers import first_named
from ..unet.blocks import Block
from ..utils.atomic_write import atomic_write
from ..utils.result_journal import ResultJournal
from .experiment import NO_REFERENCE, Arm, Experiment, OnCell, of_arm, opened

ALL = Arm("all blocks", {"blocks": "all"})
KINDS = ("look", "layout", "subject")
"""What a block is scored for: the reference's look, its layout, and whether the asked subject stays."""
NET = "net"
"""look + min(0, subject), per reference: what a block brings of the look, less what the subject pays."""
LEAST = 0.25
"""Share of the largest look effect below which a block is no style block, however little it costs."""
_COLUMNS = ("effect", "low", "high", "alone", "off", "first")
DRAWS = 2000  # of the bootstrap: its shares are then sure to about 0.02


@dataclass(frozen=True)
class Effect:
    """A block's effect on one score, mean over references; `low`, `high`: its 95 % bootstrap interval."""

    alone: float
    off: float
    low: float
    high: float
    first: float
    """Share of resamples in which no block's effect is larger: how sure its first place is."""

    @property
    def effect(self) -> float:
        return (self.alone + self.off) / 2


Effects = Mapping[str, Mapping[Block, Effect]]
"""By score (`look`), then by block."""


@dataclass(frozen=True)
class Role:
    """Blocks proposed for a role, the surest first; `confidence`: that this first one is the first."""

    blocks: tuple[Block, ...]
    confidence: float | None
    """None with one reference: of one there is nothing to resample."""


@dataclass(frozen=True)
class Finding:
    """What a probe found."""

    effects: Effects
    roles: Mapping[str, Role]
    path: Path


def probe(trials: Experiment, on_cell: OnCell | None = None) -> Finding:
    """Draw what is missing, rank the blocks, write probe.json, probe.csv, heatmap.png and contact.png."""
    blocks = trials.styled.architecture.blocks
    if len(blocks) < 2:
        raise JobError("A probe compares blocks, and this network has fewer than two with attention.")
    journal = opened(trials, "probe.json")
    trials.run(arms(blocks), journal, on_cell)
    effects = effects_of(trials, journal)
    roles = roles_in(effects, len(trials.references))
    journal.write(roles=_roles_told(roles, effects), effects=_told(effects))
    _write_table(trials.folder / "probe.csv", effects)
    _write_pictures(trials, effects)
    return Finding(effects, roles, journal.path)


def arms(blocks: Sequence[Block]) -> list[Arm]:
    """No block, all, each alone, and all but each."""
    return [
        NO_REFERENCE,
        ALL,
        *(_only(block) for block in blocks),
        *(_without(block) for block in blocks),
    ]


def effects_of(trials: Experiment, journal: ResultJournal) -> Effects:
    """Every block's effect on look, layout and subject, by the first scorer that gives these; and the net."""
    names = [name for cell in journal.cells.values() for name in cell]
    scores = {kind: name for kind in KINDS if (name := first_named([kind], names))}
    if not {"look", "layout"} <= set(scores):
        raise JobError("A probe needs scores for look and layout; of these scorers none gives both.")
    ways = {kind: _ways(trials, journal, name) for kind, name in scores.items()}
    if "subject" in ways:
        (alone, off), (paid, lost) = ways["look"], ways["subject"]
        ways[NET] = alone + paid.clamp(max=0), off + lost.clamp(max=0)
    blocks = trials.styled.architecture.blocks
    return {kind: dict(zip(blocks, ranked(*both), strict=True)) for kind, both in ways.items()}


def _ways(trials: Experiment, journal: ResultJournal, score: str) -> tuple[Tensor, Tensor]:
    """Each block's effect where it acts alone, and where it alone is off: [block reference] both."""

    def means(arm: Arm) -> Float[Tensor, " reference"]:
        return torch.tensor([sum(row) / len(row) for row in of_arm(trials, journal, arm, score).values()])

    blocks, plain, every = trials.styled.architecture.blocks, means(NO_REFERENCE), means(ALL)
    alone = torch.stack([means(_only(block)) - plain for block in blocks])
    return alone, torch.stack([every - means(_without(block)) for block in blocks])


def ranked(
    alone: Float[Tensor, "block reference"], off: Float[Tensor, "block reference"], seed: int = 0
) -> list[Effect]:
    """Each block's effect with its interval, and how often it comes first; ties are shared."""
    effects = (alone + off) / 2
    count = effects.shape[1]
    picks = torch.randint(count, (DRAWS, count), generator=torch.Generator().manual_seed(seed))
    drawn = effects[:, picks].mean(-1)
    leads = (drawn == drawn.amax(0)).float()
    first = (leads / leads.sum(0)).mean(1)
    low, high = drawn.quantile(torch.tensor([0.025, 0.975]), dim=1)
    columns = alone.mean(1), off.mean(1), low, high, first
    return [Effect(*row) for row in torch.stack(columns, 1).tolist()]


def roles_in(effects: Effects, references: int) -> dict[str, Role]:
    """`layout` by the layout; `style` by the net among blocks that bring enough of the look.

    Where each of those costs more than it brings, by the look alone: the price then stands in the table.
    """
    look = effects["look"]
    least = LEAST * max(effect.effect for effect in look.values())
    able = {
        block: effect
        for block, effect in effects.get(NET, look).items()
        if look[block].low > 0 and look[block].effect >= least
    }
    found = {
        "style": proposed(able, references) or proposed(look, references),
        "layout": proposed(effects["layout"], references),
    }
    return {role: one for role, one in found.items() if one}


def proposed(effects: Mapping[Block, Effect], references: int) -> Role | None:
    """The first block, and those with at least half its effect, whose intervals lie above zero.

    None where not even the first one's does: what the figures do not show is not proposed.
    """
    if not effects:
        return None
    order = sorted(effects, key=lambda block: -effects[block].effect)
    least = effects[order[0]].effect / 2
    chosen = [block for block in order if effects[block].effect >= least and effects[block].low > 0]
    if not chosen or chosen[0] != order[0]:
        return None
    return Role(tuple(chosen), effects[order[0]].first if references > 1 else None)


def _only(block: Block) -> Arm:
    return Arm(f"only {block}", {"blocks": {str(block): 1.0}})


def _without(block: Block) -> Arm:
    return Arm(f"without {block}", {"blocks": {"all": 1.0, str(block): 0.0}})


def _roles_told(roles: Mapping[str, Role], effects: Effects) -> dict[str, Any]:
    """Each role's blocks, how sure they are, and what else they bring or cost."""
    return {
        role: {
            "blocks": [str(block) for block in found.blocks],
            "confidence": found.confidence,
            "effects": {
                str(block): {kind: round(on[block].effect, 4) for kind, on in effects.items()}
                for block in found.blocks
            },
        }
        for role, found in roles.items()
    }


def _told(effects: Effects) -> dict[str, Any]:
    return {kind: {str(block): _rounded(one) for block, one in on.items()} for kind, on in effects.items()}


def _rounded(one: Effect) -> dict[str, float]:
    return {name: round(getattr(one, name), 4) for name in _COLUMNS}


def _write_table(path: Path, effects: Effects) -> None:
    """The blocks by their effect on the look, the largest first."""
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["block", *(f"{kind} {name}" for kind in effects for name in _COLUMNS)])
    for block in sorted(effects["look"], key=lambda block: -effects["look"][block].effect):
        table.writerow(
            [block, *(f"{getattr(on[block], name):.4f}" for on in effects.values() for name in _COLUMNS)]
        )
    with atomic_write(path, force=True) as draft:
        draft.write_text(text.getvalue(), encoding="utf-8")


def _write_pictures(trials: Experiment, effects: Effects) -> None:
    """Heat map: block × score, alone and off. Contact sheet: the first prompt, block alone × reference."""
    blocks = trials.styled.architecture.blocks
    columns = [f"{kind}: {way}" for kind in effects for way in ("alone", "off")]
    ways = [(on, way) for on in effects.values() for way in ("alone", "off")]
    values = [[getattr(on[block], way) for on, way in ways] for block in blocks]
    save_png(heat_map([*map(str, blocks)], columns, values), trials.folder / "heatmap.png", force=True)
    shown = [NO_REFERENCE, ALL, *map(_only, blocks)]
    numbers = range(len(trials.references))
    sheet = contact_sheet(
        ["reference", *(arm.name for arm in shown)],
        [reference.name for reference in trials.references],
        [
            [reference.image for reference in trials.references],
            *([trials.pictures(arm, number)[0] for number in numbers] for arm in shown),
        ],
    )
    save_png(sheet, trials.folder / "contact.png", force=True)
