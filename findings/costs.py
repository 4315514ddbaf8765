"""What does each way of taking the subject out cost in time?

    python -m findings.costs -o findings/results/costs.json

From a reference that was seen before to the picture, the style made anew: every arm of findings.cures in
turn, round after round. To be asked by itself, as whatever else runs is timed too.
"""

from dataclasses import replace
from functools import partial
from statistics import median

from benchmarks.rounds import ratio, timed
from findings.cures import PLACES, arms, cures_in
from findings.study import parser, report, shipped, trials_of
from instantstyle.evaluation.experiment import Experiment

REFERENCES = 2  # a negative reference is another one


def results_of(trials: Experiment, rounds: int) -> dict[str, dict[str, float]]:
    """By arm: seconds of one picture, and against its place without a cure (no reference: against itself)."""
    single = replace(trials, prompts=trials.prompts[:1])
    seconds = timed({arm.name: partial(single.drawn, arm, 0) for arm in arms()}, rounds)
    plain = {arm.name: PLACES[place].name for place in PLACES for arm in cures_in(place)}
    return {
        name: {"seconds": median(own), "to_plain": ratio(own, seconds[plain.get(name, name)])}
        for name, own in seconds.items()
    }


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    options = parser(question, REFERENCES, asked=1, seed=7)
    options.add_argument("--rounds", type=int, default=5, help="of the timing")
    args = options.parse_args()
    trials = trials_of(shipped(), args, "costs")
    report(question, args, trials, results_of(trials, args.rounds))


if __name__ == "__main__":
    main()
