"""How many pictures a minute does a batch draw, in this process and by a Ray cluster, and at what cost?

    python -m benchmarks.throughput -o benchmarks/results/throughput.json

The bundled model, one style, prompts by turns, from opening the ledger to the last picture on disk. A run
that is not counted goes before: models are loaded, the style is seen. Every worker has one thread, so that
one worker of the cluster beside this process shows what travelling costs. Two more arms of this process: as
many threads as the cluster has workers, and several pictures in one call.
"""

import argparse
import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

# Before torch is: this process and the cluster's workers, which inherit it, have one thread each.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

from benchmarks.bundled import reference
from benchmarks.rounds import parser, report, timed
from instantstyle.batch import Backend, BatchRow, Ledger, create_backend, cross_product, generate_rows

PROMPTS = ("a rocket", "a crown", "a mushroom")
ONE = "this process"


def seconds_for(rows: Sequence[BatchRow], backend: Backend, size: int = 1) -> float:
    """Of a run into a new folder, `size` pictures in a call; every row must become a picture."""
    with TemporaryDirectory() as folder:
        begun = perf_counter()
        with Ledger.open(Path(folder, "out")) as ledger:
            ledger.add_rows(rows, size)
            outcomes = list(generate_rows(ledger, rows, backend))
        elapsed = perf_counter() - begun
        assert [outcome.error for outcome in outcomes] == [None] * len(rows), outcomes
        return elapsed


def here(rows: Sequence[BatchRow], args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each arm of this process, in turn."""
    backend = create_backend("local", "cpu")

    def with_threads(threads: int, size: int) -> float:
        torch.set_num_threads(threads)
        try:
            return seconds_for(rows, backend, size)
        finally:
            torch.set_num_threads(1)

    arms = {
        ONE: partial(with_threads, 1, 1),
        f"this process, {args.together} in a call": partial(with_threads, 1, args.together),
        f"this process, {args.workers} threads": partial(with_threads, args.workers, 1),
    }
    return timed(arms, args.rounds)


def by_cluster(rows: Sequence[BatchRow], workers: int, rounds: int) -> list[float]:
    """Seconds of each round; before them enough is drawn for every worker to have its model."""
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        backend = create_backend("ray", "cpu")
        seconds_for(rows[: 2 * backend.workers], backend)
        return [seconds_for(rows, backend) for _ in range(rounds)]
    finally:
        ray.shutdown()


def measured(rows: Sequence[BatchRow], args: argparse.Namespace) -> dict[str, object]:
    """Pictures a minute of each arm, and what a picture costs more by way of the cluster."""
    seconds = here(rows, args)
    for workers in dict.fromkeys((1, args.workers)):
        seconds[f"Ray, {workers} worker{'s' * (workers > 1)}"] = by_cluster(rows, workers, args.rounds)
    apart = median(seconds["Ray, 1 worker"]) - median(seconds[ONE])
    return {
        "pictures_a_minute": {
            name: round(60 * len(rows) / median(each), 2) for name, each in seconds.items()
        },
        "overhead_seconds_a_picture": round(apart / len(rows), 4),
        "seconds": {name: [round(one, 3) for one in each] for name, each in seconds.items()},
    }


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    options = parser(question, rounds=3)
    options.add_argument("--pictures", type=int, default=12)
    options.add_argument("--together", type=int, default=4, help="pictures in a call, in that arm")
    options.add_argument("--steps", type=int, default=None, help="by default the model's own")
    options.add_argument("--workers", type=int, default=2)
    args = options.parse_args()
    with TemporaryDirectory() as folder:
        ink = Path(folder, "ink.png")
        reference().save(ink)
        steps = {"num_inference_steps": args.steps} if args.steps else {}
        seeds = range(1, args.pictures // len(PROMPTS) + 2)
        rows = cross_product([ink], PROMPTS, list(seeds), {"model": "mini", "dtype": "float32", **steps})
        report(question, args, measured(rows[: args.pictures], args))


if __name__ == "__main__":
    main()
