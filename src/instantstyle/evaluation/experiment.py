"""Arms × references × prompts, generated from equal seeds and scored: the basis of probe and evaluate.

Images and scores are kept in a folder, and a cell (an arm with a reference) that is there is not generated
again.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from ..core.pipeline import InstantStyle
from ..core.protocols import PipelineArguments
from ..core.shared_attention import SharedAttention
from ..core.style import Style
from ..errors import JobError
from ..generation.inputs import ReferenceImage
from ..imaging.loading import open_reference
from ..imaging.png_check import read_texts_if_complete
from ..imaging.png_metadata import save_png
from ..metrics import Scorer, ScoringCase, compute_scores
from ..utils.result_journal import ResultJournal
from ..utils.text import shorten

CELL_KEY = "instantstyle:cell"
"""PNG text key of what an image was generated for: its experiment, cell and prompt, as `Experiment.image_keys`."""

OnCell = Callable[[int, int], None]
"""Called after each cell with the number of finished cells and the number of all cells."""

CellScores = dict[str, list[float]]
"""One number for each prompt, by name of the score."""


@dataclass(frozen=True)
class Arm:
    """One way to generate images that is compared with others.

    Attributes:
        name: Name in files and reports.
        arguments: Arguments of the call of `InstantStyle`, except prompt, style and seed.
        styled: Whether the reference's style is applied.
        content: Whether the reference's content is removed. References without known content are left out.
        negative: Whether the next reference is the negative style; the first one follows the last.
        shared: Self-attention that the images share with one more image, which is generated from the reference's
            caption, instead of its style. References without a caption are left out.
        inverted: Whether that image is the reference itself, by DDIM inversion, for which the pipeline needs DDIM.
        make_style: Makes what acts in place of the reference's style, from the experiment and the reference's index: a
            dataclass with a `scale`, as `LoraStyle`.
    """

    name: str
    arguments: PipelineArguments = field(default_factory=dict)
    styled: bool = True
    content: bool = False
    negative: bool = False
    shared: SharedAttention | None = None
    inverted: bool = False
    make_style: "Callable[[Experiment, int], Any] | None" = None


NO_REFERENCE = Arm("no reference", styled=False)
"""The arm that all others are compared with."""


@dataclass(frozen=True)
class Experiment:
    """References and prompts from which all arms are generated, and the scorers.

    The seed of reference r and prompt p is `seed + 1000 r + p` in every arm, so that arms differ in nothing
    else. Each reference has seeds of its own, so that a bootstrap over references covers the noise as well.

    Attributes:
        styled: The model.
        references: Reference images.
        prompts: Prompts, which are all generated with every reference.
        scorers: Scorers of the images.
        folder: Folder of the results.
        model: Name of the model. Results of another model in the folder are refused.
        seed: Seed of the first image.
        batch: Number of prompts in one call; affects memory and speed only.
        arguments: Arguments of the call in every arm, such as `num_inference_steps`.
    """

    styled: InstantStyle
    references: Sequence[ReferenceImage]
    prompts: Sequence[str]
    scorers: Sequence[Scorer]
    folder: Path
    model: str = ""
    seed: int = 0
    batch: int = 4
    arguments: PipelineArguments = field(default_factory=dict)

    def settings(self) -> dict[str, object]:
        """Return everything that the scores depend on, as the journal's file stores it."""
        architecture = self.styled.architecture
        return {
            "model": self.model,
            "network": architecture.name,
            "blocks": [str(block) for block in architecture.blocks],
            "roles": {role: list(map(str, blocks)) for role, blocks in architecture.roles.items()},
            "references": [[one.name, one.sha256, one.content] for one in self.references],
            "prompts": list(self.prompts),
            "scores": [scorer.name for scorer in self.scorers],
            "seed": self.seed,
            "arguments": dict(self.arguments),
        }

    def run(self, arms: Sequence[Arm], journal: ResultJournal, on_cell: OnCell | None = None) -> None:
        """Generate and score every cell whose scores or images are missing.

        Args:
            arms: Arms in order, with `NO_REFERENCE` first: scores of the others use its images.
            journal: Journal of the scores, which is written after each cell.
            on_cell: Called after each cell.
        """
        cells = list(self.cells(arms))
        styles: dict[int, Style] = {}
        for done, (arm, number) in enumerate(cells, start=1):
            paths, key = self.image_paths(arm, number), self.cell_key(arm, number)
            keys = self.image_keys(arm, number)
            if key not in journal.cells or not all(map(_carries, paths, keys)):
                images = self.generate_images(arm, number, styles)
                for image, path, image_key in zip(images, paths, keys, strict=True):
                    save_png(image, path, texts={CELL_KEY: image_key}, force=True)
                journal.add(key, self._score(images, arm, number))
            if on_cell:
                on_cell(done, len(cells))

    def cells(self, arms: Sequence[Arm]) -> Iterator[tuple[Arm, int]]:
        """Yield each arm with the index of each reference that can be used in it."""
        for arm in arms:
            for number, reference in enumerate(self.references):
                lacks_content = arm.content and reference.content is None
                lacks_caption = arm.shared is not None and reference.caption is None
                if not lacks_content and not lacks_caption:
                    yield arm, number

    def cell_key(self, arm: Arm, number: int) -> str:
        """Return the name of a cell in the journal."""
        return f"{arm.name} | {self.references[number].name}"

    def image_paths(self, arm: Arm, number: int) -> list[Path]:
        """Return the paths of a cell's images, one for each prompt."""
        name = "".join(mark if mark.isalnum() or mark in "._-" else "-" for mark in arm.name)
        return [self.folder / "pictures" / name / f"{number}-{place}.png" for place in range(len(self.prompts))]

    def image_keys(self, arm: Arm, number: int) -> list[str]:
        """Return a text for each of a cell's images, which differs between cells, prompts and settings."""
        settings = json.dumps(self.settings(), sort_keys=True)
        cell = self.cell_key(arm, number)
        return [sha256(f"{settings} {cell} {place}".encode()).hexdigest() for place in range(len(self.prompts))]

    def load_images(self, arm: Arm, number: int) -> list[Image.Image]:
        """Read the images of a finished cell, one for each prompt."""
        return [open_reference(path) for path in self.image_paths(arm, number)]

    def generate_images(self, arm: Arm, number: int, styles: dict[int, Style] | None = None) -> list[Image.Image]:
        """Generate the images of a cell.

        Args:
            arm: The arm.
            number: Index of the reference.
            styles: Styles that are already encoded, by index of the reference; new ones are added.

        Returns:
            An image for each prompt.
        """
        styles = {} if styles is None else styles

        def encode_style(reference: int) -> Style:
            if reference not in styles:
                styles[reference] = self.styled.style(self.references[reference].image)
            return styles[reference]

        arguments = {**self.arguments, **arm.arguments}
        first: list[str] = []
        if arm.shared is not None:
            shared = replace(arm.shared, scale=arguments.pop("scale", arm.shared.scale))
            caption = self.references[number].caption or ""
            if arm.inverted:
                steps = arguments.get("num_inference_steps")
                picture = self.styled.invert(self.references[number].image, caption, steps=steps)
                shared = replace(shared, reference=picture)
            else:
                first = [caption]
            arguments["style"] = shared
        elif arm.make_style is not None:
            made = arm.make_style(self, number)
            arguments["style"] = replace(made, scale=arguments.pop("scale", made.scale))
        elif arm.styled:
            arguments["style"] = encode_style(number)
        if arm.negative:
            arguments["negative_style"] = encode_style((number + 1) % len(self.references))
        if arm.content:
            arguments["content"] = self.references[number].content
        images: list[Image.Image] = []
        for start in range(0, len(self.prompts), self.batch):
            prompts = [*first, *self.prompts[start : start + self.batch]]
            # The first image takes the seed before those of the prompts.
            seed = self.seed + 1000 * number + start - len(first)
            images += self.styled(prompts, seed=seed, **arguments).images[len(first) :]
        return images

    def _score(self, images: list[Image.Image], arm: Arm, number: int) -> CellScores:
        reference = self.references[number]
        plain = self.load_images(NO_REFERENCE, number) if arm.styled else images
        case = ScoringCase(number, reference.image, tuple(self.prompts), plain, reference.content)
        scores = compute_scores(self.scorers, images, case)
        return {name: [round(value, 5) for value in values] for name, values in scores.items()}


def _carries(path: Path, key: str) -> bool:
    """Whether a file is a complete image that was generated for what `key` stands for."""
    texts = read_texts_if_complete(path)
    return texts is not None and texts.get(CELL_KEY) == key


def open_journal(experiment: Experiment, name: str, **settings: object) -> ResultJournal:
    """Open the journal of an experiment; create its folder if necessary.

    Args:
        experiment: The experiment.
        name: Name of the journal's file in the experiment's folder.
        **settings: Settings beside those of the experiment.

    Returns:
        The journal, with the cells of an earlier run.

    Raises:
        JobError: The folder cannot be created, or the file holds results of other settings.
    """
    try:
        experiment.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JobError(f"{experiment.folder} cannot be a folder of results ({error.strerror}).") from None
    journal = ResultJournal(experiment.folder / name, {**experiment.settings(), **settings})
    for cell, scores in journal.cells.items():
        if not _are_scores(scores, len(experiment.prompts)):
            raise JobError(f"{journal.path} has no valid scores for {shorten(cell)}; delete it, or write elsewhere.")
    return journal


def _are_scores(scores: object, prompts: int) -> bool:
    """Whether a value is `CellScores`: a finite number for each prompt, by name of the score."""
    return isinstance(scores, dict) and all(
        isinstance(row, list)
        and len(row) in (0, prompts)
        and all(type(value) in (int, float) and abs(value) < 1e30 for value in row)
        for row in scores.values()
    )


def scores_by_reference(
    experiment: Experiment, journal: ResultJournal, arm: Arm, score: str
) -> dict[int, list[float]]:
    """Collect the values of a score in an arm.

    Args:
        experiment: The experiment.
        journal: Its journal, with all cells of the arm.
        arm: The arm.
        score: Name of the score.

    Returns:
        A value for each prompt, by index of the reference; references without the score are left out.
    """
    scores = {}
    for _, number in experiment.cells([arm]):
        values = journal.cells[experiment.cell_key(arm, number)].get(score)
        if values:
            scores[number] = values
    return scores
