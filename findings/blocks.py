"""Which blocks of the bundled model carry style, and which layout?

    python -m findings.blocks -o findings/results/blocks.json

Runs the package's own probe (`instantstyle probe`) on held-out scenes. The model card shows its table too.
"""

from typing import Any

from findings.study import (
    REQUESTED,
    compute_means,
    create_experiment,
    create_parser,
    load_mini,
    print_progress,
    write_results,
)
from instantstyle.evaluation.experiment import NO_REFERENCE, Experiment, open_journal
from instantstyle.evaluation.probe import ALL_BLOCKS, ProbeResult, probe, probe_arms

REFERENCES = 16
"""Fewer than in the other studies, as there are two arms for each block."""


def collect_results(experiment: Experiment, result: ProbeResult) -> dict[str, Any]:
    """Collect the proposed roles, the blocks, and the means of a finished probe's arms."""
    architecture = experiment.styled.architecture
    arms = {arm.name: arm for arm in probe_arms(architecture.blocks)}
    return {
        "blocks": [str(block) for block in architecture.blocks],
        "plain": NO_REFERENCE.name,
        "all": ALL_BLOCKS.name,
        "proposed": {
            role: {"blocks": [str(block) for block in one.blocks], "confidence": one.confidence}
            for role, one in result.roles.items()
        },
        "means": compute_means(experiment, open_journal(experiment, "probe.json"), arms),
    }


def main() -> None:
    """Run the study."""
    question = (__doc__ or "").splitlines()[0]
    args = create_parser(question, REFERENCES, REQUESTED, seed=100).parse_args()
    experiment = create_experiment(load_mini(), args, "blocks")
    result = probe(experiment, print_progress)
    write_results(question, args, experiment, collect_results(experiment, result))


if __name__ == "__main__":
    main()
