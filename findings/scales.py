"""Up to which scale can a reference act before its content leaks?

    python -m findings.scales -o findings/results/scales.json

The first published sweep of InstantStyle's scale that we know of: each scale in all blocks, in the style
blocks, and in style and layout blocks.
"""

from typing import Any

from findings.study import (
    REFERENCES,
    REQUESTED,
    Means,
    compute_means,
    create_experiment,
    create_parser,
    load_mini,
    print_progress,
    write_results,
)
from instantstyle.evaluation import ARMS, evaluate
from instantstyle.evaluation.arms import combine_settings
from instantstyle.evaluation.experiment import NO_REFERENCE, Experiment, open_journal

SWEPT = (ARMS["all"], ARMS["style"], ARMS["style+layout"])
SCALES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4)


def measure_means(experiment: Experiment) -> Means:
    """Generate and score what is missing, and write a report with all images into the experiment's folder.

    Returns:
        The means of no reference and of every arm at every scale, named like `all blocks at 0.2`.
    """
    evaluate(experiment, SWEPT, SCALES, print_progress)
    journal = open_journal(experiment, "evaluate.json")
    settings = combine_settings([NO_REFERENCE, *SWEPT], SCALES)
    arms = {setting.scaled_arm.name: setting.scaled_arm for setting in settings}
    return compute_means(experiment, journal, arms)


def collect_results(experiment: Experiment) -> dict[str, Any]:
    """Collect the arms, the scales and the means of every setting."""
    return {
        "plain": NO_REFERENCE.name,
        "arms": [arm.name for arm in SWEPT],
        "scales": list(SCALES),
        "means": measure_means(experiment),
    }


def main() -> None:
    """Run the study."""
    question = (__doc__ or "").splitlines()[0]
    args = create_parser(question, REFERENCES, REQUESTED, seed=11).parse_args()
    experiment = create_experiment(load_mini(), args, "scales")
    write_results(question, args, experiment, collect_results(experiment))


if __name__ == "__main__":
    main()
