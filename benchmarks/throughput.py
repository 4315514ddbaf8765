"""How many images per minute does a batch generate, in this process and with Ray, and at what cost?

    python -m benchmarks.throughput -o benchmarks/results/throughput.json

The bundled model, one style and alternating prompts, from opening the ledger to the last image on disk. An
uncounted run precedes, so that models are loaded and the style is encoded. Every worker has one thread, so
that the difference between one worker of the cluster and this process is the cost of communication. Two more
arms of this process: as many threads as the cluster has workers, and several images in one call.
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

# Set before torch is imported: one thread for this process and for the cluster's workers, which inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

from benchmarks.bundled import render_reference
from benchmarks.rounds import create_parser, time_rounds, write_report
from instantstyle.batch import Backend, BatchRow, Ledger, create_backend, cross_product, generate_rows

PROMPTS = ("a rocket", "a crown", "a mushroom")
LOCAL = "this process"
"""Name of the local arm in the results."""


def time_batch(rows: Sequence[BatchRow], backend: Backend, size: int = 1) -> float:
    """Return the seconds of a batch into a new folder, in which every row must succeed.

    Args:
        rows: The rows.
        backend: Where they are generated.
        size: Number of images in a call.
    """
    with TemporaryDirectory() as folder:
        started = perf_counter()
        with Ledger.open(Path(folder, "out")) as ledger:
            ledger.add_rows(rows, size)
            outcomes = list(generate_rows(ledger, rows, backend))
        elapsed = perf_counter() - started
        assert [outcome.error for outcome in outcomes] == [None] * len(rows), outcomes
        return elapsed


def time_local(rows: Sequence[BatchRow], args: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds of each arm of this process, interleaved."""
    backend = create_backend("local", "cpu")

    def with_threads(threads: int, size: int) -> float:
        torch.set_num_threads(threads)
        try:
            return time_batch(rows, backend, size)
        finally:
            torch.set_num_threads(1)

    arms = {
        LOCAL: partial(with_threads, 1, 1),
        f"this process, {args.together} in a call": partial(with_threads, 1, args.together),
        f"this process, {args.workers} threads": partial(with_threads, args.workers, 1),
    }
    return time_rounds(arms, args.rounds)


def time_cluster(rows: Sequence[BatchRow], workers: int, rounds: int) -> list[float]:
    """Return the seconds of each round on a Ray cluster whose workers have loaded their models."""
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        backend = create_backend("ray", "cpu")
        time_batch(rows[: 2 * backend.workers], backend)
        return [time_batch(rows, backend) for _ in range(rounds)]
    finally:
        ray.shutdown()


def measure_throughput(rows: Sequence[BatchRow], args: argparse.Namespace) -> dict[str, object]:
    """Measure the images per minute of each arm, and the overhead of the cluster for each image."""
    seconds = time_local(rows, args)
    for workers in dict.fromkeys((1, args.workers)):
        name = f"Ray, {workers} worker{'s' * (workers > 1)}"
        seconds[name] = time_cluster(rows, workers, args.rounds)
    overhead = median(seconds["Ray, 1 worker"]) - median(seconds[LOCAL])
    return {
        "pictures_a_minute": {name: round(60 * len(rows) / median(each), 2) for name, each in seconds.items()},
        "overhead_seconds_a_picture": round(overhead / len(rows), 4),
        "seconds": {name: [round(one, 3) for one in each] for name, each in seconds.items()},
    }


def main() -> None:
    """Run the benchmark."""
    question = (__doc__ or "").splitlines()[0]
    parser = create_parser(question, rounds=3)
    parser.add_argument("--pictures", type=int, default=12, help="number of images")
    parser.add_argument("--together", type=int, default=4, help="images in a call, in that arm")
    parser.add_argument("--steps", type=int, default=None, help="default: the model's own")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        reference = Path(folder, "ink.png")
        render_reference().save(reference)
        steps = {"num_inference_steps": args.steps} if args.steps else {}
        seeds = range(1, args.pictures // len(PROMPTS) + 2)
        settings = {"model": "mini", "dtype": "float32", **steps}
        rows = cross_product([reference], PROMPTS, list(seeds), settings)
        write_report(question, args, measure_throughput(rows[: args.pictures], args))


if __name__ == "__main__":
    main()
