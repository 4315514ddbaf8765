"""Which method reduces content leakage, and at what cost?

    python -m findings.cures -o findings/results/cures.json

Every removal and every negative reference, in all blocks and in the style blocks, with the same references,
prompts and seeds. Methods that act through guidance, which mini does without, are compared with the same blocks with
guidance.
"""

from dataclasses import replace
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

GUIDANCE = {"guidance_scale": 2.0}
"""Argument of the arms of methods that act through guidance."""

PLACES = {"all": ARMS["all"], "style": ARMS["style"]}
"""Where each method is applied: the arms without a method."""


def list_methods(place: str) -> list[Arm]:
    """List the methods that need no guidance, in the blocks of one of `PLACES`, named after the arm without one."""
    plain = PLACES[place]
    return [
        Arm(
            f"{plain.name}, {name}",
            {**plain.arguments, **arguments},
            content=arguments["removal"] not in WORDLESS,
        )
        for name, arguments in REMOVALS.items()
    ]


def list_guided_methods(place: str) -> list[Arm]:
    """List the methods that act through guidance, named after the arm of `add_guidance` without a method."""
    names = [f"{place}-negative", *(["precise-style"] if place == "style" else [])]
    return [add_guidance(REMOVAL_ARMS[name], PLACES[place]) for name in names]


def add_guidance(arm: Arm, plain: Arm) -> Arm:
    """Return an arm with guidance, which its name states behind the name of the arm without a method."""
    name = arm.name.replace(plain.name, f"{plain.name} with guidance", 1)
    return replace(arm, name=name, arguments={**arm.arguments, **GUIDANCE})


def list_places() -> list[tuple[Arm, list[Arm]]]:
    """List the arms without a method, each with those to compare with it."""
    plain = [(arm, list_methods(place)) for place, arm in PLACES.items()]
    return [*plain, *((add_guidance(arm, arm), list_guided_methods(place)) for place, arm in PLACES.items())]


def list_arms() -> list[Arm]:
    """List no reference, each place without and with each method, and the paper's style and layout blocks."""
    places = [arm for plain, methods in list_places() for arm in (plain, *methods)]
    return [NO_REFERENCE, *places, ARMS["style+layout"]]


def collect_results(experiment: Experiment) -> dict[str, Any]:
    """Collect the arms by place and their means."""
    return {
        "plain": NO_REFERENCE.name,
        "places": {plain.name: [arm.name for arm in methods] for plain, methods in list_places()},
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
