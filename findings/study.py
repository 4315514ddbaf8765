"""What every question here has in common: held-out pairs of the small world, drawn from the shipped weights.

A study draws its arms into a folder, where it is taken up again, and keeps each arm's mean scores by
reference: all that the page says, intervals and verdicts too, is worked out from these.
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

import instantstyle
from benchmarks.rounds import machine
from instantstyle.errors import JobError
from instantstyle.evaluation.experiment import Arm, Experiment, from_world, of_arm
from instantstyle.metrics import InWorld
from instantstyle.models.registry import MINI_FOLDER
from instantstyle.utils.atomic_write import atomic_write
from instantstyle.utils.result_journal import ResultJournal

RESULTS = Path(__file__).parent / "results"
WORK = Path("build/findings")

REFERENCES, ASKED = 60, 2
"""Of the questions on cures and scales. Intervals are over references, so these are many: with 60 a leak of
one in ten is told from none beside a dozen other comparisons. 2: what a set of pictures has in common is
asked of pairs at least."""

Means = dict[str, dict[str, list[float]]]
"""By arm and score (`leak`): a number for each reference, the mean over what was asked for with it."""


def parser(question: str, references: int, asked: int, seed: int) -> argparse.ArgumentParser:
    """The options that all of these have."""
    made = argparse.ArgumentParser(description=question)
    made.add_argument("--references", type=int, default=references, help="held-out scenes")
    made.add_argument("--asked", type=int, default=asked, help="things asked for with each reference")
    made.add_argument("--steps", type=int, help="of each drawing; the model's own number unless given")
    made.add_argument("--seed", type=int, default=seed, help="of scenes and drawings")
    made.add_argument("--work", type=Path, default=WORK, help="folder in which begun work is gone on with")
    made.add_argument("-o", "--output", type=Path, required=True)
    return made


def weights() -> str:
    """16 hex digits that change with any tensor which ships."""
    told = sha256()
    for path in sorted(MINI_FOLDER.rglob("*.safetensors")):
        told.update(path.read_bytes())
    return told.hexdigest()[:16]


def trials_of(
    styled: instantstyle.InstantStyle, args: argparse.Namespace, name: str, model: str = ""
) -> Experiment:
    """Held-out scenes as references, things to ask for that none of them shows, and the judge.

    The weights are part of what the model is called: what others drew is never gone on with.
    """
    shown, scenes, asked = from_world(args.references, args.asked, args.seed)
    steps = {} if args.steps is None else {"num_inference_steps": args.steps}
    return Experiment(
        styled,
        shown,
        asked,
        [InWorld(scenes)],
        args.work / name,
        model or f"mini {weights()}",
        args.seed,
        arguments=steps,
    )


def shipped() -> instantstyle.InstantStyle:
    """The bundled model."""
    styled = instantstyle.load("mini")
    styled.pipe.set_progress_bar_config(disable=True)
    return styled


def means_of(trials: Experiment, journal: ResultJournal, arms: Mapping[str, Arm]) -> Means:
    """Each arm's means by the name it is to have, of the judge's scores."""
    return {name: _scores(trials, journal, arm) for name, arm in arms.items()}


def _scores(trials: Experiment, journal: ResultJournal, arm: Arm) -> dict[str, list[float]]:
    names = list(dict.fromkeys(name for cell in journal.cells.values() for name in cell))
    found = {name.partition(" (")[0]: of_arm(trials, journal, arm, name) for name in names}
    return {name: [round(mean(row), 5) for row in rows.values()] for name, rows in found.items()}


def tell(done: int, cells: int) -> None:
    """How far the drawing is, on one line."""
    print(f"\r{done}/{cells} cells", end="\n" if done == cells else "", file=sys.stderr, flush=True)


def report(question: str, args: argparse.Namespace, trials: Experiment, results: Mapping[str, Any]) -> None:
    """Question, settings and results as JSON, in the file asked for."""
    command = shlex.join(["python", "-m", f"findings.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    settings = {
        "command": command,
        **machine(),
        "weights": weights(),
        "references": args.references,
        "asked": list(trials.prompts),
        "steps": args.steps or trials.styled.defaults.get("num_inference_steps"),
        "seed": args.seed,
    }
    told = {"question": question, "settings": settings, "results": results}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.output, force=True) as draft:
        draft.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(args.output)


def read(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The files of results by the names of their questions; `JobError` where one is not there."""
    lacking = [name for name in names if not (folder / f"{name}.json").is_file()]
    if lacking:
        raise JobError(
            f"{folder} has no {' and no '.join(f'{name}.json' for name in lacking)}: make findings."
        )
    return {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names}
