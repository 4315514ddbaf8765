"""Which method reduces content leakage, and at what cost?

    python -m findings.cures -o findings/results/cures.json

Every removal and every negative reference, in all blocks and in the style blocks, with the same references,
prompts and seeds.
"""

from typing import Any

from findings.study import (
    REFERENCES,
    REQUESTED,
    create_experiment,
    create_parser,
    load_mini,
    measure_means,
    write_results,
)
from instantstyle.evaluation import ARMS
from instantstyle.evaluation.arms import REMOVAL_ARMS
from instantstyle.evaluation.experiment import NO_REFERENCE, Arm, Experiment
from instantstyle.recipe_types import WORDLESS

REMOVALS: dict[str, dict[str, Any]] = {
    "subtract 0.5": {"removal": "subtract", "content_scale": 0.5},
    "subtract 1": {"removal": "subtract", "content_scale": 1.0},
    "subtract auto": {"removal": "subtract", "content_scale": "auto"},
    "project 1": {"removal": "project", "content_scale": 1.0},
    "mask": {"removal": "mask"},
    "mask 0.9": {"removal": "mask", "mask_quantile": 0.9},
    "clean": {"removal": "clean"},
    "cleanstyle": {"removal": "cleanstyle"},
}
"""Arguments of the call; removals without an amount act fully, as in their papers."""

PLACES = {"all": ARMS["all"], "style": ARMS["style"]}
"""Where each method is applied: the arms without a method."""


def list_methods(place: str) -> list[Arm]:
    """List every method in the blocks of one of `PLACES`, named after the arm without a method."""
    plain = PLACES[place]
    removals = [
        Arm(
            f"{plain.name}, {name}",
            {**plain.arguments, **arguments},
            content=arguments["removal"] not in WORDLESS,
        )
        for name, arguments in REMOVALS.items()
    ]
    precise = [REMOVAL_ARMS["precise-style"]] if place == "style" else []
    return [*removals, REMOVAL_ARMS[f"{place}-negative"], *precise]


def list_arms() -> list[Arm]:
    """List no reference, each place without and with each method, and the paper's style and layout blocks."""
    places = [arm for place, plain in PLACES.items() for arm in (plain, *list_methods(place))]
    return [NO_REFERENCE, *places, ARMS["style+layout"]]


def collect_results(experiment: Experiment) -> dict[str, Any]:
    """Collect the arms by place and their means."""
    return {
        "plain": NO_REFERENCE.name,
        "places": {plain.name: [arm.name for arm in list_methods(place)] for place, plain in PLACES.items()},
        "means": measure_means(experiment, list_arms()),
    }


def main() -> None:
    """Run the study."""
    question = (__doc__ or "").splitlines()[0]
    args = create_parser(question, REFERENCES, REQUESTED, seed=7).parse_args()
    experiment = create_experiment(load_mini(), args, "cures")
    write_results(question, args, experiment, collect_results(experiment))


if __name__ == "__main__":
    main()
