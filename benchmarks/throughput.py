"""How many pictures a minute does a batch draw, in this process and by a Ray cluster, and at what cost?

    python -m benchmarks.throughput -o benchmarks/results/throughput.json

The bundled model, one style, prompts by turns, from opening the ledger to the last picture on disk. A run
that is not counted goes before: models are loaded, the style is seen. Every worker has one thread, so that
one worker of the cluster beside this process shows what travelling costs.
"""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

# Before torch is: this process and the cluster's workers, which inherit it, have one thread each.
os.environ["OMP_NUM_THREADS"] = "1"

from benchmarks.bundled import reference
from benchmarks.rounds import parser, report
from instantstyle.batch import Backend, Ledger, Row, backend_named, crossed, draw_rows

PROMPTS = ("a rocket", "a crown", "a mushroom")


def seconds_for(rows: Sequence[Row], backend: Backend) -> float:
    """Of a run into a new folder; every row must become a picture."""
    with TemporaryDirectory() as folder:
        begun = perf_counter()
        with Ledger.opened(Path(folder, "out")) as ledger:
            ledger.enter(rows, backend.size)
            errors = [outcome.error for outcome in draw_rows(ledger, rows, backend) if outcome.error]
        assert not errors, errors
        return perf_counter() - begun


def rounds_of(rows: Sequence[Row], backend: Backend, rounds: int) -> list[float]:
    """Seconds of each; before them enough is drawn for every worker to have its model."""
    seconds_for(rows[: 2 * backend.workers], backend)
    return [seconds_for(rows, backend) for _ in range(rounds)]


def by_cluster(rows: Sequence[Row], workers: int, rounds: int) -> list[float]:
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        return rounds_of(rows, backend_named("ray", "cpu"), rounds)
    finally:
        ray.shutdown()


def measured(rows: Sequence[Row], args: argparse.Namespace) -> dict[str, object]:
    """Pictures a minute of each arm, and what a picture costs more by way of the cluster."""
    here = rounds_of(rows, backend_named("local", "cpu"), args.rounds)
    one = by_cluster(rows, 1, args.rounds)
    several = by_cluster(rows, args.workers, args.rounds)
    arms = {"local": here, "ray, 1 worker": one, f"ray, {args.workers} workers": several}
    return {
        "pictures_a_minute": {
            name: round(60 * len(rows) / median(seconds), 2) for name, seconds in arms.items()
        },
        "overhead_seconds_a_picture": round((median(one) - median(here)) / len(rows), 4),
        "seconds": {name: [round(each, 3) for each in seconds] for name, seconds in arms.items()},
    }


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    options = parser(question, rounds=5)
    options.add_argument("--pictures", type=int, default=12)
    options.add_argument("--steps", type=int, default=None, help="by default the model's own")
    options.add_argument("--workers", type=int, default=2)
    args = options.parse_args()
    with TemporaryDirectory() as folder:
        ink = Path(folder, "ink.png")
        reference().save(ink)
        steps = {"num_inference_steps": args.steps} if args.steps else {}
        seeds = range(1, args.pictures // len(PROMPTS) + 2)
        rows = crossed([ink], PROMPTS, list(seeds), {"model": "mini", "dtype": "float32", **steps})
        report(question, args, measured(rows[: args.pictures], args))


if __name__ == "__main__":
    main()
