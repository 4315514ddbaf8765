"""Render docs/performance.md from results.

    python -m benchmarks.page

Every figure is read from a file that a command wrote, and the page names that command.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rounds import RESULTS, format_machine
from instantstyle.metrics import SCORE_TITLES

PAGE = Path("docs/performance.md")
NAMES = ("accelerators", "bundled", "cold", "full_size", "growth", "resident", "shares")
GPU = "gpu"
"""Included if it was measured: `make bench` needs no GPU."""

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """A row of the table of targets.

    Attributes:
        quantity: What is measured.
        baseline: What it is compared with.
        figure: Reads the figure from the results.
        target: Largest figure that meets the target.
        format: Format of figure and target.
    """

    quantity: str
    baseline: str
    figure: Callable[[Results], float]
    target: float
    format: str = "{:.2f}×"

    def render(self, results: Results) -> str:
        """Render the row."""
        figure = self.figure(results)
        verdict = "met" if figure <= self.target else "**missed**"
        measured, target = self.format.format(figure), self.format.format(self.target)
        return f"| {self.quantity} | {self.baseline} | {measured} | ≤ {target} | {verdict} |"


ROWS = (
    Row(
        "a styled step, bundled model",
        "the plain step",
        lambda results: results["bundled"]["step"]["ours_to_plain"],
        1.0,
    ),
    Row(
        "a styled step, bundled model",
        "diffusers' own path, same blocks",
        lambda results: results["bundled"]["step"]["ours_to_diffusers"],
        1.0,
    ),
    Row(
        "images of one style, bundled model",
        "diffusers' own path, same pipeline",
        lambda results: results["bundled"]["many"]["ours_to_diffusers"],
        0.9,
    ),
    Row(
        "an image after warm-up, bundled model",
        "–",
        lambda results: results["bundled"]["picture"]["ours_seconds"],
        2.0,
        "{:.2f} s",
    ),
    Row(
        "a styled step, SDXL's architecture, CPU",
        "the plain step",
        lambda results: results["full_size"]["blocks"]["style"]["time_ours_to_plain"],
        1.0,
    ),
    Row(
        "a styled step, SDXL's architecture, CPU",
        "diffusers' own path, same blocks",
        lambda results: results["full_size"]["blocks"]["style"]["time_ours_to_diffusers"],
        1.0,
    ),
    Row(
        "bytes read to bind a style, SDXL",
        "the whole adapter file",
        lambda results: (
            results["full_size"]["arms"]["ours style"]["bytes_read"] / results["full_size"]["adapter_file_bytes"]
        ),
        0.2,
        "{:.1%}",
    ),
    Row(
        "bytes kept in the UNet for one style, SDXL",
        "–",
        lambda results: results["full_size"]["arms"]["ours style"]["network_bytes"] / 1e6,
        1.0,
        "{:.2f} MB",
    ),
    Row(
        "resident bytes of one style from a bound file, SDXL",
        "–",
        lambda results: results["resident"]["arms"]["our bound style file"]["resident_bytes"] / 1e6,
        1.0,
        "{:.2f} MB",
    ),
    Row(
        "`generate` in a new process, bundled model, beyond 1.5 imports of diffusers' SDXL pipeline",
        "–",
        lambda results: 3 - results["cold"]["seconds_to_spare"],
        3.0,
        "{:.1f} s",
    ),
    Row(
        "growth from 8 to 16 references, exponent",
        "linear is 1",
        lambda results: results["growth"]["references"]["exponent"],
        1.0,
        "{:.2f}",
    ),
    Row(
        "growth from 8 to 16 images in a call, exponent",
        "linear is 1",
        lambda results: results["growth"]["pictures"]["exponent"],
        1.0,
        "{:.2f}",
    ),
)

GPU_ROWS = (
    Row(
        "a styled step, SDXL's architecture, CUDA",
        "the plain step",
        lambda results: first_setting(results["gpu"])["arms"]["ours style"]["to_plain"],
        1.0,
    ),
    Row(
        "a styled step, SDXL's architecture, CUDA",
        "diffusers' own path, same blocks",
        lambda results: first_setting(results["gpu"])["arms"]["ours style"]["to_diffusers"],
        0.97,
    ),
)


def first_setting(results: dict[str, Any]) -> dict[str, Any]:
    """Return the setting that all results of a GPU have: eager, with the fewest images."""
    return results["settings"][0]


def read_results(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read result files by name."""
    return {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in names}


def format_commands(files: dict[str, dict[str, Any]]) -> str:
    """Format the command, the question and the environment of each file."""
    lines = []
    for file in files.values():
        settings = file["settings"]
        environment = (
            f"{format_machine(settings['machine'])}; torch {settings['torch']}, diffusers {settings['diffusers']}"
        )
        lines.append(f"- `{settings['command']}`: {file['question']} ({environment})")
    return "\n".join(lines)


def format_accelerators(results: dict[str, Any]) -> str:
    """Format a row for each setting: time, difference to the default, and scores."""
    scores = ("subject", "leak", "look", "palette")
    titles = ["setting", "time", "difference of pixels", *(SCORE_TITLES[score] for score in scores)]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for name, one in results["settings"].items():
        figures = [f"{one['time_to_full']:.2f}×", f"{one['mean_absolute_difference']:.3f}"]
        figures += [f"{one['scores'][score]:.2f}" for score in scores]
        lines.append(f"| {' | '.join([name, *figures])} |")
    return "\n".join(lines)


def format_resident(results: dict[str, Any]) -> str:
    """Format a row for each arm with its memory in megabytes."""
    lines = ["| one style on SDXL | resident | in use | read at each step |", "|---|---|---|---|"]
    for name, one in results["arms"].items():
        sizes = [f"{one[key] / 1e6:,.2f} MB" for key in ("resident_bytes", "held_bytes", "tensor_bytes")]
        lines.append(f"| {' | '.join([name, *sizes])} |")
    return "\n".join(lines)


def format_shares(results: dict[str, Any]) -> str:
    """Format a row for each part with its share of a styled image's time."""
    lines = ["| part | share of the time | calls |", "|---|---|---|"]
    lines += [f"| {name} | {one['share']:.1%} | {one['calls']} |" for name, one in results["parts"].items()]
    return "\n".join(lines)


def format_gpu(results: dict[str, Any] | None) -> str:
    """Format a row for each setting and arm: seconds, ratios, memory, and the ratio to the lower bound."""
    if results is None:
        return "Not measured: it requires a CUDA device. `python -m benchmarks.gpu` measures it."
    lines = [
        f"{results['device']}, bfloat16, 1024 px, {results['steps']} guided steps of the UNet, random weights.\n",
        "| | images | arm | seconds | to plain | to diffusers | peak memory | to the lower bound |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in results["settings"]:
        for name, arm in one["arms"].items():
            bound = one["floor_seconds"]
            figures = [f"{arm['seconds']:.2f}", f"{arm['to_plain']:.3f}×", f"{arm['to_diffusers']:.3f}×"]
            figures += [
                f"{arm['peak_bytes'] / 1e9:.2f} GB",
                f"{arm['seconds'] / bound:.2f}" if bound else "–",
            ]
            lines.append(f"| {' | '.join([one['way'], str(one['pictures']), name, *figures])} |")
    return "\n".join(lines)


def render_page(files: dict[str, dict[str, Any]]) -> str:
    """Render the page from the result files of `NAMES`, and of `GPU` if there is one."""
    results = {name: file["results"] for name, file in files.items()}
    rows = (*ROWS, *(GPU_ROWS if GPU in results else ()))
    lines = ["| quantity | compared with | measured | target | |", "|---|---|---|---|---|"]
    table = "\n".join([*lines, *(row.render(results) for row in rows)])
    template = Path(__file__).with_name("page.md").read_text()
    return template.format(
        table=table,
        commands=format_commands(files),
        full=results["full_size"],
        side=files["full_size"]["settings"]["side"],
        many=results["bundled"]["many"],
        resident=format_resident(results["resident"]),
        shares=format_shares(results["shares"]),
        accelerators=format_accelerators(results["accelerators"]),
        accelerated=results["accelerators"],
        gpu=format_gpu(results.get(GPU)),
    )


if __name__ == "__main__":
    has_gpu = (RESULTS / f"{GPU}.json").is_file()
    PAGE.write_text(render_page(read_results([*NAMES, *([GPU] if has_gpu else [])])))
    print(PAGE)
