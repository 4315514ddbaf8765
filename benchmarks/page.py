"""Results → docs/performance.md.

    python -m benchmarks.page

Every figure is read from a file that a command wrote, and names that command.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rounds import RESULTS

PAGE = Path("docs/performance.md")
NAMES = ("accelerators", "bundled", "cold", "full_size", "growth", "resident", "shares")
GPU = "gpu"
"""Told where it was measured: `make bench` needs no GPU."""

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One question: where its figure stands, what it should be, and how both are written."""

    question: str
    against: str
    figure: Callable[[Results], float]
    target: float
    written: str = "{:.2f}×"

    def told(self, results: Results) -> str:
        figure = self.figure(results)
        verdict = "met" if figure <= self.target else "**missed**"
        shown, wanted = self.written.format(figure), self.written.format(self.target)
        return f"| {self.question} | {self.against} | {shown} | ≤ {wanted} | {verdict} |"


ROWS = (
    Row(
        "a styled step, bundled model",
        "the plain step",
        lambda found: found["bundled"]["step"]["ours_to_plain"],
        1.0,
    ),
    Row(
        "a styled step, bundled model",
        "diffusers' own path, same blocks",
        lambda found: found["bundled"]["step"]["ours_to_diffusers"],
        1.0,
    ),
    Row(
        "pictures of one style, bundled model",
        "diffusers' path, same pipeline",
        lambda found: found["bundled"]["many"]["ours_to_diffusers"],
        0.9,
    ),
    Row(
        "a warm picture, bundled model",
        "–",
        lambda found: found["bundled"]["picture"]["ours_seconds"],
        2.0,
        "{:.2f} s",
    ),
    Row(
        "a styled step, SDXL's true shape, CPU",
        "the plain step",
        lambda found: found["full_size"]["blocks"]["style"]["time_ours_to_plain"],
        1.0,
    ),
    Row(
        "a styled step, SDXL's true shape, CPU",
        "diffusers' own path, same blocks",
        lambda found: found["full_size"]["blocks"]["style"]["time_ours_to_diffusers"],
        1.0,
    ),
    Row(
        "bytes read to bind a style, SDXL",
        "the whole adapter file",
        lambda found: (
            found["full_size"]["arms"]["ours style"]["bytes_read"] / found["full_size"]["adapter_file_bytes"]
        ),
        0.2,
        "{:.1%}",
    ),
    Row(
        "bytes kept in the network for one style, SDXL",
        "–",
        lambda found: found["full_size"]["arms"]["ours style"]["network_bytes"] / 1e6,
        1.0,
        "{:.2f} MB",
    ),
    Row(
        "bytes kept for one style, SDXL, a bound file, resident",
        "below",
        lambda found: found["resident"]["arms"]["our bound style file"]["resident_bytes"] / 1e6,
        1.0,
        "{:.2f} MB",
    ),
    Row(
        "cold `generate`, bundled model, beyond 1.5 imports of diffusers' SDXL pipeline",
        "–",
        lambda found: 3 - found["cold"]["seconds_to_spare"],
        3.0,
        "{:.1f} s",
    ),
    Row(
        "growth from 8 to 16 references side by side, exponent",
        "linear is 1",
        lambda found: found["growth"]["references"]["exponent"],
        1.0,
        "{:.2f}",
    ),
    Row(
        "growth from 8 to 16 pictures in a call, exponent",
        "linear is 1",
        lambda found: found["growth"]["pictures"]["exponent"],
        1.0,
        "{:.2f}",
    ),
)

GPU_ROWS = (
    Row(
        "a styled step, SDXL's true shape, CUDA",
        "the plain step",
        lambda found: alone(found["gpu"])["arms"]["ours style"]["to_plain"],
        1.0,
    ),
    Row(
        "a styled step, SDXL's true shape, CUDA",
        "diffusers' own path, same blocks",
        lambda found: alone(found["gpu"])["arms"]["ours style"]["to_diffusers"],
        0.97,
    ),
)


def alone(found: dict[str, Any]) -> dict[str, Any]:
    """Of a GPU's settings the one that all have: eager, the fewest pictures."""
    return found["settings"][0]


def read(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Files of results, by name."""
    return {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in names}


def commands(files: dict[str, dict[str, Any]]) -> str:
    """Where each file's figures come from, a line each."""
    return "\n".join(
        f"- `{file['settings']['command']}`: {file['question']} ({_where(file['settings'])})"
        for file in files.values()
    )


def accelerators(found: dict[str, Any]) -> str:
    """A row a setting: time, distance from the full drawing, and what the judge sees."""
    judged = ("subject", "leak", "look", "palette")
    lines = [
        "| drawn with | time | pixels apart | asked thing seen | reference's thing seen | look | palette |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in found["settings"].items():
        figures = [f"{one['time_to_full']:.2f}×", f"{one['mean_absolute_difference']:.3f}"]
        figures += [f"{one['scores'][score]:.2f}" for score in judged]
        lines.append(f"| {' | '.join([name, *figures])} |")
    return "\n".join(lines)


def resident(found: dict[str, Any]) -> str:
    """A row an arm: what it keeps, in megabytes."""
    lines = ["| one style, ready on SDXL | resident | of it held | read at each step |", "|---|---|---|---|"]
    for name, one in found["arms"].items():
        sizes = [f"{one[key] / 1e6:,.2f} MB" for key in ("resident_bytes", "held_bytes", "tensor_bytes")]
        lines.append(f"| {' | '.join([name, *sizes])} |")
    return "\n".join(lines)


def shares(found: dict[str, Any]) -> str:
    """A row a part: its share of a styled picture."""
    lines = ["| part of a styled picture | share of its time | calls |", "|---|---|---|"]
    lines += [f"| {name} | {one['share']:.1%} | {one['calls']} |" for name, one in found["parts"].items()]
    return "\n".join(lines)


def gpu(found: dict[str, Any] | None) -> str:
    """A row a way of drawing: seconds, memory, and how far from the floor."""
    if found is None:
        return (
            "Not measured, for want of a CUDA device: `python -m benchmarks.gpu` does it where there is one."
        )
    lines = [
        f"{found['device']}, bf16, 1024 px, {found['steps']} guided steps of the network, random weights.\n",
        "| | pictures | arm | seconds | to plain | to diffusers' | peak memory | times the floor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in found["settings"]:
        for name, arm in one["arms"].items():
            least = one["floor_seconds"]
            figures = [f"{arm['seconds']:.2f}", f"{arm['to_plain']:.3f}×", f"{arm['to_diffusers']:.3f}×"]
            figures += [
                f"{arm['peak_bytes'] / 1e9:.2f} GB",
                f"{arm['seconds'] / least:.2f}" if least else "–",
            ]
            lines.append(f"| {' | '.join([one['way'], str(one['pictures']), name, *figures])} |")
    return "\n".join(lines)


def page(files: dict[str, dict[str, Any]]) -> str:
    results = {name: file["results"] for name, file in files.items()}
    rows = (*ROWS, *(GPU_ROWS if GPU in results else ()))
    lines = ["| question | against | measured | target | |", "|---|---|---|---|---|"]
    table = "\n".join([*lines, *(row.told(results) for row in rows)])
    template = Path(__file__).with_name("page.md").read_text()
    return template.format(
        table=table,
        commands=commands(files),
        full=results["full_size"],
        side=files["full_size"]["settings"]["side"],
        many=results["bundled"]["many"],
        resident=resident(results["resident"]),
        shares=shares(results["shares"]),
        accelerators=accelerators(results["accelerators"]),
        accelerated=results["accelerators"],
        gpu=gpu(results.get(GPU)),
    )


def _where(settings: dict[str, Any]) -> str:
    return f"{settings['machine']}; torch {settings['torch']}, diffusers {settings['diffusers']}"


if __name__ == "__main__":
    PAGE.write_text(page(read([*NAMES, *([GPU] if (RESULTS / f"{GPU}.json").is_file() else [])])))
    print(PAGE)
