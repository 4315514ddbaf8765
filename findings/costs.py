"""How much time does each method against content leakage cost?

    python -m findings.costs -o findings/results/costs.json

Measures the time from an encoded reference to the image, including the making of the style, for every arm of
`findings.cures`, interleaved over several rounds. Run it alone: other load is timed too.
"""

from dataclasses import replace
from functools import partial
from statistics import median

from benchmarks.rounds import median_ratio, time_rounds
from findings.cures import PLACES, list_arms, list_methods
from findings.study import create_experiment, create_parser, load_mini, write_results
from instantstyle.evaluation.experiment import Experiment

REFERENCES = 2
"""A negative reference is another one."""


def measure_times(experiment: Experiment, rounds: int) -> dict[str, dict[str, float]]:
    """Measure the time of every arm.

    Args:
        experiment: The experiment; only its first prompt and reference are used.
        rounds: Number of rounds.

    Returns:
        By arm: `seconds` of one image, and `to_plain`, relative to the same blocks without a method (for no
        reference: relative to itself).
    """
    single = replace(experiment, prompts=experiment.prompts[:1])
    seconds = time_rounds({arm.name: partial(single.generate_images, arm, 0) for arm in list_arms()}, rounds)
    plain = {arm.name: PLACES[place].name for place in PLACES for arm in list_methods(place)}
    return {
        name: {"seconds": median(own), "to_plain": median_ratio(own, seconds[plain.get(name, name)])}
        for name, own in seconds.items()
    }


def main() -> None:
    """Run the measurement."""
    question = (__doc__ or "").splitlines()[0]
    parser = create_parser(question, REFERENCES, requested=1, seed=7)
    parser.add_argument("--rounds", type=int, default=5, help="of the timing")
    args = parser.parse_args()
    experiment = create_experiment(load_mini(), args, "costs")
    write_results(question, args, experiment, measure_times(experiment, args.rounds))


if __name__ == "__main__":
    main()
