"""Arms × references × prompts, drawn from equal seeds and scored: the ground of probe and evaluate.

Everything drawn is kept in a folder, and a cell (an arm with a reference) that is there is not drawn again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..core.pipeline import InstantStyle
from ..core.style import Style
from ..errors import JobError
from ..generation.inputs import ReferenceImage
from ..imaging.loading import open_reference
from ..imaging.png_metadata import save_png
from ..metrics import Case, Scorer, all_scores
from ..synthetic import MINI_SCOPE, Scenes, as_image, sample_scenes, thing_words
from ..utils.result_journal import ResultJournal

OnCell = Callable[[int, int], None]
"""Told after each cell: cells done, cells in all."""

PLAIN = "no reference"

Scored = dict[str, list[float]]
"""By score: a number for each prompt."""


@dataclass(frozen=True)
class Arm:
    """One way of drawing: the call's arguments beside prompt, style and seed."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    styled: bool = True
    content: bool = False
    """Whether the reference's content is taken out; references whose content is unknown are left out."""
    negative: bool = False
    """Whether the next reference is drawn away from; after the last comes the first."""


NO_REFERENCE = Arm(PLAIN, styled=False)


@dataclass(frozen=True)
class Experiment:
    """What is drawn, and how it is scored; reference r is drawn from `seed + 1000 r`, prompt p one on each.

    Its own seeds, so that a bootstrap over references is one over noise as well; the same in every arm, so
    that arms differ in nothing else.
    """

    styled: InstantStyle
    references: Sequence[ReferenceImage]
    prompts: Sequence[str]
    scorers: Sequence[Scorer]
    folder: Path
    model: str = ""
    """What the model is called; another's results are not mixed with its own."""
    seed: int = 0
    batch: int = 4
    """Prompts that are drawn in one call; changes memory and speed, and no picture."""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """All that a cell's numbers depend on."""
        return {
            "model": self.model,
            "network": self.styled.architecture.name,
            "blocks": [str(block) for block in self.styled.architecture.blocks],
            "roles": {role: list(map(str, of)) for role, of in self.styled.architecture.roles.items()},
            "references": [[one.name, one.sha256, one.content] for one in self.references],
            "prompts": list(self.prompts),
            "scores": [scorer.name for scorer in self.scorers],
            "seed": self.seed,
            "arguments": dict(self.arguments),
        }

    def run(self, arms: Sequence[Arm], journal: ResultJournal, on_cell: OnCell | None = None) -> None:
        """Draw and score every cell that the journal lacks; arms in their order, no reference first."""
        todo = list(self.cells(arms))
        styles: dict[int, Style] = {}
        for done, (arm, number) in enumerate(todo, start=1):
            if not self._is_done(journal, arm, number):
                journal.add(self.key(arm, number), self._cell(arm, number, styles))
            if on_cell:
                on_cell(done, len(todo))

    def cells(self, arms: Sequence[Arm]) -> Iterator[tuple[Arm, int]]:
        """Each arm with the number of each reference that it can be drawn with."""
        for arm in arms:
            for number, reference in enumerate(self.references):
                if not arm.content or reference.content is not None:
                    yield arm, number

    def key(self, arm: Arm, number: int) -> str:
        """What a cell is called in the journal."""
        return f"{arm.name} | {self.references[number].name}"

    def picture_paths(self, arm: Arm, number: int) -> list[Path]:
        """Where a cell's pictures lie, a prompt each."""
        home = self.folder / "pictures" / _slug(arm.name)
        return [home / f"{number}-{place}.png" for place in range(len(self.prompts))]

    def pictures(self, arm: Arm, number: int) -> list[Image.Image]:
        """A finished cell's pictures."""
        return [open_reference(path) for path in self.picture_paths(arm, number)]

    def _is_done(self, journal: ResultJournal, arm: Arm, number: int) -> bool:
        drawn = all(path.is_file() for path in self.picture_paths(arm, number))
        return drawn and self.key(arm, number) in journal.cells

    def _cell(self, arm: Arm, number: int, styles: dict[int, Style]) -> Scored:
        drawn = self.drawn(arm, number, styles)
        for picture, path in zip(drawn, self.picture_paths(arm, number), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            save_png(picture, path, force=True)
        reference = self.references[number]
        plain = drawn if not arm.styled else self.pictures(NO_REFERENCE, number)
        case = Case(number, reference.image, tuple(self.prompts), plain, reference.content)
        return {name: [round(v, 5) for v in row] for name, row in self._scores(drawn, case).items()}

    def _scores(self, drawn: list[Image.Image], case: Case) -> Scored:
        return all_scores(self.scorers, drawn, case)

    def drawn(self, arm: Arm, number: int, styles: dict[int, Style] | None = None) -> list[Image.Image]:
        """A cell's pictures, drawn now; `styles`: those made so far, by reference, None: made anew."""
        styles = {} if styles is None else styles
        given: dict[str, Any] = {**self.arguments, **arm.arguments}
        if arm.styled:
            given["style"] = self._style(number, styles)
        if arm.negative:
            given["negative_style"] = self._style((number + 1) % len(self.references), styles)
        if arm.content:
            given["content"] = self.references[number].content
        drawn: list[Image.Image] = []
        for start in range(0, len(self.prompts), self.batch):
            some = list(self.prompts[start : start + self.batch])
            drawn += self.styled(some, seed=self.seed + 1000 * number + start, **given).images
        return drawn

    def _style(self, number: int, styles: dict[int, Style]) -> Style:
        if number not in styles:
            styles[number] = self.styled.style(self.references[number].image)
        return styles[number]


def opened(trials: Experiment, name: str, **settings: Any) -> ResultJournal:
    """The journal in the trials' folder, which is made where it is not there."""
    try:
        trials.folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise JobError(f"{trials.folder} cannot be a folder of results ({fault.strerror}).") from None
    return ResultJournal(trials.folder / name, {**trials.settings(), **settings})


def of_arm(trials: Experiment, journal: ResultJournal, arm: Arm, score: str) -> dict[int, list[float]]:
    """A score's numbers in an arm, by reference; references without it are left out."""
    found = {}
    for _, number in trials.cells([arm]):
        values = journal.cells[trials.key(arm, number)].get(score)
        if values:
            found[number] = values
    return found


def from_world(references: int, asked: int, seed: int) -> tuple[list[ReferenceImage], Scenes, list[str]]:
    """Things to ask for, and held-out scenes of the small world as references, none of which shows one."""
    if asked >= MINI_SCOPE.things:
        raise JobError(
            f"Of {MINI_SCOPE.things} things {asked} to ask for leave none for references to show; take fewer."
        )
    dice = torch.Generator().manual_seed(seed)
    wanted = torch.randperm(MINI_SCOPE.things, generator=dice)[:asked]
    scenes = sample_scenes(references, dice, MINI_SCOPE, held_out=True)
    while (shows := torch.isin(scenes.thing, wanted)).any():
        scenes = scenes.where(~shows, sample_scenes(references, dice, MINI_SCOPE, held_out=True))
    # 192 px: what the image encoder sees is then as sharp as a person's own picture.
    pictures = scenes.pictures(192, torch.Generator().manual_seed(seed))
    exhibits = [
        ReferenceImage(f"scene {number}", as_image(picture), thing_words(int(thing)))
        for number, (picture, thing) in enumerate(zip(pictures, scenes.thing, strict=True))
    ]
    return exhibits, scenes, [thing_words(thing) for thing in wanted.tolist()]


def _slug(name: str) -> str:
    return "".join(mark if mark.isalnum() or mark in "._-" else "-" for mark in name)
