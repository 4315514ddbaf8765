"""What all studies share: held-out references of the synthetic dataset and images from the shipped weights.

A study generates its arms into a folder, in which it can be resumed, and stores each arm's mean scores by
reference. Intervals and verdicts of the page are computed from these means.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Any

from PIL import Image

import instantstyle
from benchmarks.rounds import describe_environment
from instantstyle.errors import JobError
from instantstyle.evaluation import evaluate
from instantstyle.evaluation.arms import combine_settings
from instantstyle.evaluation.experiment import (
    Arm,
    Experiment,
    open_journal,
    scores_by_reference,
)
from instantstyle.evaluation.synthetic_references import sample_synthetic_references
from instantstyle.imaging.grid import contact_sheet
from instantstyle.metrics import SyntheticScorer
from instantstyle.models.registry import MINI_FOLDER
from instantstyle.utils.atomic_write import atomic_write
from instantstyle.utils.result_journal import ResultJournal

RESULTS = Path(__file__).parent / "results"
WORK = Path("build/findings")

REFERENCES, REQUESTED = 40, 2
"""References and requested objects of the studies of methods and scales.

Intervals are over references: with 40, content leakage in three of twenty images is distinguished from none beside
two dozen other comparisons in nine of ten simulated studies. Consistency is a score of pairs of images, which require
two objects."""

Means = dict[str, dict[str, list[float]]]
"""By arm and score (`leak`): for each reference the mean over the objects requested with it."""


def create_parser(question: str, references: int, requested: int, seed: int) -> argparse.ArgumentParser:
    """Create a parser with the options of all studies.

    Args:
        question: The question of the study.
        references: Default number of references.
        requested: Default number of objects requested with each.
        seed: Default seed.

    Returns:
        The parser.
    """
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--references", type=int, default=references, help="held-out scenes")
    parser.add_argument("--asked", type=int, default=requested, help="objects requested with each reference")
    parser.add_argument("--steps", type=int, help="of each image; default: the model's own number")
    parser.add_argument("--seed", type=int, default=seed, help="of scenes and images")
    parser.add_argument("--work", type=Path, default=WORK, help="folder in which the study is resumed")
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser


def hash_weights() -> str:
    """Return 16 hexadecimal digits that change with any tensor of mini that studies generate with."""
    digest = sha256()
    for path in sorted(MINI_FOLDER.rglob("*.safetensors")):
        if "controlnet" not in path.relative_to(MINI_FOLDER).parts:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def create_experiment(
    styled: instantstyle.InstantStyle, args: argparse.Namespace, name: str, model: str = ""
) -> Experiment:
    """Create an experiment with held-out scenes, objects that none of them shows, and the classifier.

    Args:
        styled: The model.
        args: Options of `create_parser`.
        name: Folder of the study's images in `args.work`.
        model: Name of the model in the journal. It contains the weights' digest by default, so that images of
            other weights are not reused.

    Returns:
        The experiment.
    """
    references, scenes, prompts = sample_synthetic_references(args.references, args.asked, args.seed)
    steps = {} if args.steps is None else {"num_inference_steps": args.steps}
    return Experiment(
        styled,
        references,
        prompts,
        [SyntheticScorer(scenes)],
        args.work / name,
        model or f"mini {hash_weights()}",
        args.seed,
        arguments=steps,
    )


def load_mini(**arguments: Any) -> instantstyle.InstantStyle:
    """Load the bundled model without progress bars; `arguments` are those of `instantstyle.load`."""
    styled = instantstyle.load("mini", **arguments)
    styled.pipe.set_progress_bar_config(disable=True)
    return styled


def compute_means(experiment: Experiment, journal: ResultJournal, arms: Mapping[str, Arm]) -> Means:
    """Compute the means of all scores by reference.

    Args:
        experiment: The experiment.
        journal: Its scores.
        arms: The arms by their names in the results.

    Returns:
        The means, without the scorer's name in the names of scores.
    """
    names = list(dict.fromkeys(name for cell in journal.cells.values() for name in cell))
    means: Means = {}
    for arm_name, arm in arms.items():
        scores = {name.partition(" (")[0]: scores_by_reference(experiment, journal, arm, name) for name in names}
        means[arm_name] = {name: [round(mean(row), 5) for row in rows.values()] for name, rows in scores.items()}
    return means


def measure_means(experiment: Experiment, arms: Sequence[Arm]) -> Means:
    """Generate and score what is missing at scale 1, and write a report into the experiment's folder.

    Returns:
        The means of every arm.
    """
    evaluate(experiment, arms, [1.0], print_progress)
    return compute_means(experiment, open_journal(experiment, "evaluate.json"), scale_to_one(arms))


def scale_to_one(arms: Sequence[Arm]) -> dict[str, Arm]:
    """Return the arms as they are generated at scale 1, by the names that they have without it."""
    return {setting.arm.name: setting.scaled_arm for setting in combine_settings(arms, [1.0])}


def save_sheet(
    path: Path, labels: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Image.Image]]
) -> None:
    """Save rows of images with their labels; the folder is made if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(labels, columns, rows).save(path, quality=90)


def print_progress(done: int, cells: int) -> None:
    """Print the number of finished cells on one line of the standard error."""
    print(f"\r{done}/{cells} cells", end="\n" if done == cells else "", file=sys.stderr, flush=True)


def write_results(question: str, args: argparse.Namespace, experiment: Experiment, results: Mapping[str, Any]) -> None:
    """Write question, settings and results as JSON to `args.output`."""
    words = sys.argv[1:]
    if "--work" in words:
        # Where a study is resumed has no effect on its figures, and is a folder of one machine.
        place = words.index("--work")
        words = [*words[:place], *words[place + 2 :]]
    command = shlex.join(["python", "-m", f"findings.{Path(sys.argv[0]).stem}", *words])
    settings = {
        "command": command,
        **describe_environment(),
        "weights": hash_weights(),
        "references": args.references,
        "asked": list(experiment.prompts),
        "steps": args.steps or experiment.styled.defaults.get("num_inference_steps"),
        "seed": args.seed,
    }
    document = {"question": question, "settings": settings, "results": results}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.output, force=True) as draft:
        draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(args.output)


def read_results(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read the result files of studies.

    Args:
        folder: Folder of the files.
        names: Names of the studies.

    Returns:
        The documents by the name of their study.

    Raises:
        JobError: A file is missing.
    """
    missing = [name for name in names if not (folder / f"{name}.json").is_file()]
    if missing:
        raise JobError(f"{folder} has no {' and no '.join(f'{name}.json' for name in missing)}. Run make findings.")
    return {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names}
