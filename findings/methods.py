"""What do the methods beside InstantStyle give, and at what cost?

    python -m findings.methods -o findings/results/methods.json --figure docs/images/methods.jpg

InstantStyle's blocks, StyleStudio's AdaIN and held layout, StyleAligned and visual style prompting, with the same
held-out references, prompts and seeds. The last two have no adapter: they share self-attention with an image that is
generated from the reference's caption.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rounds import median_ratio, time_rounds
from findings.claims import VERDICTS, Claim
from findings.evidence import estimate_mean
from findings.study import (
    REFERENCES,
    REQUESTED,
    compute_means,
    create_experiment,
    create_parser,
    load_mini,
    print_progress,
    write_results,
)
from findings.tables import format_table
from instantstyle import SharedAttention
from instantstyle.evaluation import ARMS, evaluate
from instantstyle.evaluation.arms import METHOD_ARMS, combine_settings
from instantstyle.evaluation.experiment import NO_REFERENCE, Arm, Experiment, open_journal
from instantstyle.imaging.grid import contact_sheet

ALIGNED = Arm("StyleAligned", shared=SharedAttention())
SWAPPED = Arm("visual style prompting", shared=SharedAttention.swapped("all"))
FIGURE_ROWS = 4

SCORES = {
    "subject": "prompt fidelity",
    "leak": "content leakage",
    "palette": "palette",
    "look": "look",
    "layout": "layout",
    "consistency": "consistency",
}


def list_arms() -> list[Arm]:
    """List no reference, InstantStyle in all blocks and in the style blocks, and each other method."""
    return [NO_REFERENCE, ARMS["all"], ARMS["style"], *METHOD_ARMS.values(), ALIGNED, SWAPPED]


def _list_claims() -> tuple[Claim, ...]:
    every, style = ARMS["all"].name, ARMS["style"].name
    adain, held = METHOD_ARMS["all-adain"].name, METHOD_ARMS["all-held"].name
    aligned, swapped, plain = ALIGNED.name, SWAPPED.name, NO_REFERENCE.name
    return (
        Claim("AdaIN leaks less than adding, in all blocks", adain, every, "leak", -1),
        Claim("… and keeps more prompt fidelity", adain, every, "subject", 1),
        Claim("… at a cost in the palette", adain, every, "palette", -1),
        Claim("Holding the layout keeps more prompt fidelity, in all blocks", held, every, "subject", 1),
        Claim("… and takes less of the reference's layout", held, every, "layout", -1),
        Claim("… at no cost in the palette", held, every, "palette", -1),
        Claim("StyleAligned's sets are more consistent than without", aligned, plain, "consistency", 1),
        Claim("… and than the style block", aligned, style, "consistency", 1),
        Claim("… with less prompt fidelity than the style block", aligned, style, "subject", -1),
        Claim("Visual style prompting is less consistent", swapped, aligned, "consistency", -1),
    )


CLAIMS = _list_claims()
"""What the methods' papers promise, and their costs."""


def measure_times(experiment: Experiment, rounds: int) -> dict[str, float]:
    """Measure the time of an image in every arm, relative to the style blocks of the same round."""
    calls = {arm.name: partial(experiment.generate_images, arm, 0) for arm in list_arms()}
    seconds = time_rounds(calls, rounds)
    plain = seconds[ARMS["style"].name]
    return {name: round(median_ratio(own, plain), 3) for name, own in seconds.items()} | {
        "seconds of the style blocks": round(median(plain) / len(experiment.prompts), 3)
    }


def collect_results(experiment: Experiment, rounds: int, figure: Path | None = None) -> dict[str, Any]:
    """Generate, score and time every arm.

    Args:
        experiment: The experiment.
        rounds: Rounds of the timing.
        figure: File of a sheet of the first references; None for none.

    Returns:
        Means by arm and score, and times relative to the style blocks.
    """
    arms = list_arms()
    evaluate(experiment, arms, [1.0], print_progress)
    journal = open_journal(experiment, "evaluate.json")
    scaled = {setting.arm.name: setting.scaled_arm for setting in combine_settings(arms, [1.0])}
    means = compute_means(experiment, journal, scaled)
    if figure is not None:
        save_figure(experiment, scaled, figure)
    return {"means": means, "times": measure_times(experiment, rounds)}


def save_figure(experiment: Experiment, arms: Mapping[str, Arm], path: Path) -> None:
    """Save a sheet: the first references that have colours, and one prompt in every arm."""
    numbers = range(min(FIGURE_ROWS, len(experiment.references)))
    rows = [
        [experiment.references[number].image, *(experiment.load_images(arm, number)[0] for arm in arms.values())]
        for number in numbers
    ]
    sheet = contact_sheet([f"reference {number + 1}" for number in numbers], ["reference", *arms], rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=90)


def format_section(results: Mapping[str, Any]) -> str:
    """Format the results as tables: each claim with its verdict, and all arms.

    Args:
        results: As `collect_results` returns them.

    Returns:
        Markdown. The intervals of the first table hold together at 95 %, those of the second each on its own.
    """
    means, times = results["means"], results["times"]
    # With one requested object there are no pairs of images, and no consistency.
    titles = {score: title for score, title in SCORES.items() if score in means[NO_REFERENCE.name]}
    tested = [claim for claim in CLAIMS if claim.score in titles]
    rows: list[list[str]] = []
    for claim in tested:
        found = claim.estimate(means, len(tested))
        verdict = VERDICTS[found.sign * claim.sign]
        arms = f"{claim.arm} − {claim.baseline}"
        rows.append([claim.statement, titles[claim.score], arms, found.format("+"), verdict])
    claims = format_table(["claim", "score", "difference of", "measured", "verdict"], rows)
    table = [
        [arm, *(estimate_mean(scores[score]).format() for score in titles), f"{times[arm]:.2f}"]
        for arm, scores in means.items()
    ]
    return "\n\n".join([claims, format_table(["arm", *titles.values(), "time"], table)])


def main() -> None:
    """Run the study."""
    question = (__doc__ or "").splitlines()[0]
    parser = create_parser(question, REFERENCES, REQUESTED, seed=7)
    parser.add_argument("--figure", type=Path, help="sheet of the first references")
    parser.add_argument("--rounds", type=int, default=3, help="of the timing")
    args = parser.parse_args()
    experiment = create_experiment(load_mini(), args, "methods")
    results = collect_results(experiment, args.rounds, args.figure)
    write_results(question, args, experiment, results)


if __name__ == "__main__":
    main()
