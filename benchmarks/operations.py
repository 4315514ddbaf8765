"""Results → docs/operations.md.

    python -m benchmarks.operations

Every figure is read from a file that a command wrote, and names that command.
"""

from pathlib import Path
from typing import Any

from benchmarks.page import commands, read

PAGE = Path("docs/operations.md")
NAMES = ("load", "throughput")


def load(found: dict[str, Any]) -> str:
    """A row a number of clients."""
    lines = [
        "| clients | asked | served | sent away | lost | pictures a minute | median | 95 % within | memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for clients, one in found["clients"].items():
        figures = [str(one[name]) for name in ("asked", "served", "sent_away", "lost")]
        figures += [f"{one['requests_a_minute']:.0f}"]
        figures += [_seconds(one["p50_seconds"]), _seconds(one["p95_seconds"])]
        figures += [f"{one['resident_bytes'][0] / 1e6:,.0f} → {one['resident_bytes'][-1] / 1e6:,.0f} MB"]
        lines.append(f"| {' | '.join([clients, *figures])} |")
    return "\n".join(lines)


def _seconds(figure: float | None) -> str:
    """Nothing is made up where nobody was served."""
    return "–" if figure is None else f"{figure:.2f} s"


def throughput(found: dict[str, Any]) -> str:
    """A row a way of drawing."""
    lines = ["| drawn by | pictures a minute |", "|---|---|"]
    lines += [f"| {name} | {figure:.0f} |" for name, figure in found["pictures_a_minute"].items()]
    return "\n".join(lines)


def page(files: dict[str, dict[str, Any]]) -> str:
    served, drawn = (files[name] for name in NAMES)
    resident = [size for one in served["results"]["clients"].values() for size in one["resident_bytes"]]
    return (
        Path(__file__)
        .with_name("operations.md")
        .read_text()
        .format(
            seconds=served["settings"]["seconds"],
            load=load(served["results"]),
            start=resident[0] / 1e6,
            highest=max(resident) / 1e6,
            end=resident[-1] / 1e6,
            pictures=drawn["settings"]["pictures"],
            rounds=drawn["settings"]["rounds"],
            throughput=throughput(drawn["results"]),
            overhead=1000 * drawn["results"]["overhead_seconds_a_picture"],
            commands=commands(files),
        )
    )


if __name__ == "__main__":
    PAGE.write_text(page(read(NAMES)))
    print(PAGE)
