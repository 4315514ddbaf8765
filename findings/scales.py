"""How strongly may a reference act before its subject leaks?

    python -m findings.scales -o findings/results/scales.json

The first sweep of InstantStyle's scale that we know of: each scale in all blocks, in the style blocks, and in
style and layout blocks.
"""

from typing import Any

from findings.study import ASKED, REFERENCES, Means, means_of, parser, report, shipped, tell, trials_of
from instantstyle.evaluation import ARMS, evaluate
from instantstyle.evaluation.arms import Setting, settings_of
from instantstyle.evaluation.experiment import NO_REFERENCE, Experiment, opened

SWEPT = (ARMS["all"], ARMS["style"], ARMS["style+layout"])
SCALES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4)


def settings() -> list[Setting]:
    """No reference, and every arm at every scale."""
    return settings_of([NO_REFERENCE, *SWEPT], SCALES)


def means(trials: Experiment) -> Means:
    """Draws what is missing; by `all blocks at 0.2`. A report with all pictures lies in its folder."""
    evaluate(trials, SWEPT, SCALES, tell)
    journal = opened(trials, "evaluate.json")
    return means_of(trials, journal, {setting.drawn.name: setting.drawn for setting in settings()})


def results_of(trials: Experiment) -> dict[str, Any]:
    """The arms and scales, and each setting's means."""
    return {
        "plain": NO_REFERENCE.name,
        "arms": [arm.name for arm in SWEPT],
        "scales": list(SCALES),
        "means": means(trials),
    }


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    args = parser(question, REFERENCES, ASKED, seed=11).parse_args()
    trials = trials_of(shipped(), args, "scales")
    report(question, args, trials, results_of(trials))


if __name__ == "__main__":
    main()
