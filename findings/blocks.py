"""Which blocks of the bundled model carry style, and which layout?

    python -m findings.blocks -o findings/results/blocks.json

The package's own probe (`instantstyle probe`) on held-out scenes; the model card shows its table too.
"""

from typing import Any

from findings.study import ASKED, Means, means_of, parser, report, shipped, tell, trials_of
from instantstyle.evaluation.experiment import NO_REFERENCE, Experiment, opened
from instantstyle.evaluation.probe import ALL, Finding, arms, probe

REFERENCES = 16  # fewer than the other questions have: there are two arms for each block


def means(trials: Experiment) -> Means:
    """Of a finished probe: every arm's, under its own name."""
    journal = opened(trials, "probe.json")
    return means_of(trials, journal, {arm.name: arm for arm in arms(trials.styled.architecture.blocks)})


def results_of(trials: Experiment, found: Finding) -> dict[str, Any]:
    """Proposed roles and those that ship, the blocks, and all means."""
    architecture = trials.styled.architecture
    return {
        "blocks": [str(block) for block in architecture.blocks],
        "plain": NO_REFERENCE.name,
        "all": ALL.name,
        "proposed": {
            role: {"blocks": [str(block) for block in one.blocks], "confidence": one.confidence}
            for role, one in found.roles.items()
        },
        "shipped": {role: [str(block) for block in blocks] for role, blocks in architecture.roles.items()},
        "means": means(trials),
    }


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    args = parser(question, REFERENCES, ASKED, seed=100).parse_args()
    trials = trials_of(shipped(), args, "blocks")
    report(question, args, trials, results_of(trials, probe(trials, tell)))


if __name__ == "__main__":
    main()
