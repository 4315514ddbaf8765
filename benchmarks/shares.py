"""Where does the time of a styled picture go, on the bundled model?

    python -m benchmarks.shares -o benchmarks/results/shares.json

A clock around each part of the pipeline while whole pictures are drawn, as `benchmarks.bundled` draws them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from benchmarks.bundled import PROMPT, ours, reference
from benchmarks.rounds import parser, report


@dataclass
class Clock:
    """What one part has taken so far."""

    seconds: float = 0.0
    calls: int = 0


@contextmanager
def clocked(owner: Any, method: str) -> Iterator[Clock]:
    """Inside the `with` block each call of the method is timed; after it the owner is as it was."""
    clock, plain = Clock(), getattr(owner, method)

    def timed(*given: Any, **named: Any) -> Any:
        begun = perf_counter()
        try:
            return plain(*given, **named)
        finally:
            clock.seconds += perf_counter() - begun
            clock.calls += 1

    setattr(owner, method, timed)
    try:
        yield clock
    finally:
        delattr(owner, method)


def measured(draw: Callable[[], Any], parts: Mapping[str, tuple[Any, str]], pictures: int) -> dict[str, Any]:
    """Shares of the time in which so many pictures are drawn; what is in no part is the pipeline's own."""
    draw()
    with ExitStack() as stack:
        clocks = {name: stack.enter_context(clocked(*part)) for name, part in parts.items()}
        begun = perf_counter()
        for _ in range(pictures):
            draw()
        seconds = perf_counter() - begun
    rest = seconds - sum(clock.seconds for clock in clocks.values())
    shares = {name: (clock.seconds, clock.calls // pictures) for name, clock in clocks.items()}
    shares["all else"] = (rest, 1)
    told = {name: {"share": spent / seconds, "calls": calls} for name, (spent, calls) in shares.items()}
    return {"pictures": pictures, "seconds_a_picture": seconds / pictures, "parts": told}


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    args = parser(question, rounds=8).parse_args()
    styled = ours()
    pipe, picture = styled.pipe, reference()
    ink = styled.style(picture)
    parts = {
        "the network": (pipe.unet, "forward"),
        "the first text encoder": (pipe.text_encoder, "forward"),
        "the second": (pipe.text_encoder_2, "forward"),
        "the scheduler's steps": (pipe.scheduler, "step"),
        "the autoencoder": (pipe.vae, "decode"),
    }
    report(question, args, measured(lambda: styled(PROMPT, style=ink, seed=7), parts, args.rounds))


if __name__ == "__main__":
    main()
