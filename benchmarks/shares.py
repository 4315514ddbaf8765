"""Which parts of the pipeline take the time of a styled image of the bundled model?

    python -m benchmarks.shares -o benchmarks/results/shares.json

Measures the time of each part while whole images are generated, with the settings of `benchmarks.bundled`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from benchmarks.bundled import PROMPT, load_mini, render_reference
from benchmarks.rounds import create_parser, write_report


@dataclass
class Clock:
    """Time and number of the calls of a method."""

    seconds: float = 0.0
    calls: int = 0


@contextmanager
def time_method(owner: object, method: str) -> Iterator[Clock]:
    """Time every call of a method of an object within the `with` block, and restore the object afterwards."""
    clock, original = Clock(), getattr(owner, method)

    def timed(*args: Any, **kwargs: Any) -> Any:
        started = perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            clock.seconds += perf_counter() - started
            clock.calls += 1

    setattr(owner, method, timed)
    try:
        yield clock
    finally:
        delattr(owner, method)


def measure_shares(
    generate: Callable[[], object], parts: Mapping[str, tuple[object, str]], images: int
) -> dict[str, Any]:
    """Measure the shares of the parts in the time of `generate`.

    Args:
        generate: Generates one image; called once more to warm up.
        parts: Object and method of each part, by name.
        images: Number of images.

    Returns:
        Share and calls of each part; "all else" is the remaining time.
    """
    generate()
    with ExitStack() as stack:
        clocks = {name: stack.enter_context(time_method(*part)) for name, part in parts.items()}
        started = perf_counter()
        for _ in range(images):
            generate()
        seconds = perf_counter() - started
    rest = seconds - sum(clock.seconds for clock in clocks.values())
    times = {name: (clock.seconds, clock.calls // images) for name, clock in clocks.items()}
    times["all else"] = (rest, 1)
    shares = {name: {"share": spent / seconds, "calls": calls} for name, (spent, calls) in times.items()}
    return {"pictures": images, "seconds_a_picture": seconds / images, "parts": shares}


def main() -> None:
    """Run the benchmark."""
    question = (__doc__ or "").splitlines()[0]
    args = create_parser(question, rounds=8).parse_args()
    styled = load_mini()
    pipe: Any = styled.pipe
    style = styled.style(render_reference())
    parts = {
        "the network": (pipe.unet, "forward"),
        "the first text encoder": (pipe.text_encoder, "forward"),
        "the second": (pipe.text_encoder_2, "forward"),
        "the scheduler's steps": (pipe.scheduler, "step"),
        "the autoencoder": (pipe.vae, "decode"),
    }
    results = measure_shares(lambda: styled(PROMPT, style=style, seed=7), parts, args.rounds)
    write_report(question, args, results)


if __name__ == "__main__":
    main()
