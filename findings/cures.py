"""Which way of taking the subject out of the reference works, and at what price?

    python -m findings.cures -o findings/results/cures.json

Every removal and every negative reference, in all blocks and in the style blocks, on one footing: the same
references, prompts and seeds. What each costs in time: findings.costs.
"""

from typing import Any

from findings.study import ASKED, REFERENCES, Means, means_of, parser, report, shipped, tell, trials_of
from instantstyle.evaluation import ARMS, evaluate
from instantstyle.evaluation.arms import CURES, settings_of
from instantstyle.evaluation.experiment import NO_REFERENCE, Arm, Experiment, opened

REMOVALS: dict[str, dict[str, Any]] = {
    "subtract 0.5": {"removal": "subtract", "content_scale": 0.5},
    "subtract 1": {"removal": "subtract", "content_scale": 1.0},
    "subtract auto": {"removal": "subtract", "content_scale": "auto"},
    "project 1": {"removal": "project", "content_scale": 1.0},
    "mask": {"removal": "mask"},
    "clean": {"removal": "clean"},
}
"""The call's arguments; those without an amount act in full, as their papers have it."""

PLACES = {"all": ARMS["all"], "style": ARMS["style"]}
"""Where each is tried; the arms are those without a cure."""


def cures_in(place: str) -> list[Arm]:
    """Every cure in these blocks, named after the arm that it is to cure."""
    plain = PLACES[place]
    removals = [
        Arm(f"{plain.name}, {name}", {**plain.arguments, **told}, content=told["removal"] != "clean")
        for name, told in REMOVALS.items()
    ]
    against = [CURES[f"{place}-negative"], *([CURES["precise-style"]] if place == "style" else [])]
    return [*removals, *against]


def arms() -> list[Arm]:
    """No reference, each place without a cure and with each, and what else the paper speaks of."""
    places = [arm for place, plain in PLACES.items() for arm in (plain, *cures_in(place))]
    return [NO_REFERENCE, *places, ARMS["style+layout"]]


def means(trials: Experiment) -> Means:
    """Draws what is missing, at scale 1; a report with all pictures lies in the trials' folder."""
    evaluate(trials, arms(), [1.0], tell)
    journal = opened(trials, "evaluate.json")
    return means_of(
        trials, journal, {setting.arm.name: setting.drawn for setting in settings_of(arms(), [1.0])}
    )


def results_of(trials: Experiment) -> dict[str, Any]:
    """Which arms there are and what they cure, and their means."""
    return {
        "plain": NO_REFERENCE.name,
        "places": {plain.name: [arm.name for arm in cures_in(place)] for place, plain in PLACES.items()},
        "means": means(trials),
    }


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    args = parser(question, REFERENCES, ASKED, seed=7).parse_args()
    trials = trials_of(shipped(), args, "cures")
    report(question, args, trials, results_of(trials))


if __name__ == "__main__":
    main()
