"""Render docs/findings.md and its curves from results.

    python -m findings.page

Every figure is computed from files that commands wrote, and every conclusion is selected by the figures.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.rounds import format_machine
from findings import blend, methods, tables, verdicts
from findings.claims import format_claims
from findings.evidence import estimate_mean
from findings.study import RESULTS, read_results
from instantstyle.core.conditioning import StyleConditioning
from instantstyle.errors import JobError
from instantstyle.evaluation import Point
from instantstyle.evaluation.arms import Setting
from instantstyle.evaluation.curves import render_figure
from instantstyle.evaluation.experiment import Arm
from instantstyle.metrics import SCORE_TITLES
from instantstyle.unet.architectures import MINI
from instantstyle.utils.atomic_write import atomic_write

PAGE = Path("docs/findings.md")
STUDIES = ("cures", "scales", "blocks", "blend", "methods")
CURVES = {"leak": "findings-leak.svg", "subject": "findings-subject.svg"}
"""The scores that the palette is plotted against, and the files in images/ beside the page."""

DEFAULT_SCALE = StyleConditioning.scale

Files = Mapping[str, Mapping[str, Any]]
"""Result files by the name of their study."""


def render_page(files: Files) -> str:
    """Render the page.

    Args:
        files: Result files of all `STUDIES`.

    Returns:
        Markdown.

    Raises:
        JobError: The results are of different weights.
    """
    validate_weights(files)
    results = {name: file["results"] for name, file in files.items()}
    blocks, means, places = results["blocks"], results["cures"]["means"], results["cures"]["places"]
    counts = (_format_counts(name, file["settings"]) for name, file in files.items() if "means" in file["results"])
    template = Path(__file__).with_name("page.md").read_text(encoding="utf-8")
    return template.format(
        claims=format_claims({name: one["means"] for name, one in results.items() if "means" in one}),
        arms=tables.format_arms(means, [*means]),
        methods="\n\n".join(verdicts.summarize_methods(means, *place) for place in places.items()),
        method_tables="\n\n".join(tables.format_methods(means, *place) for place in places.items()),
        **_format_scales(results["scales"]),
        roles=verdicts.describe_roles(blocks, {role: [*map(str, own)] for role, own in MINI.roles.items()}),
        alone=tables.format_blocks(blocks, "alone"),
        off=tables.format_blocks(blocks, "off"),
        blend=blend.format_section(results["blend"]),
        other_methods=methods.format_section(results["methods"]),
        commands="\n".join(_format_command(file) for file in files.values()),
        counts="\n".join(counts),
        weights=files["cures"]["settings"]["weights"],
    )


def validate_weights(files: Files) -> None:
    """Check that all results are of the same weights.

    Raises:
        JobError: They are not; together they would describe no model.
    """
    weights = {name: file["settings"]["weights"] for name, file in files.items()}
    if len(set(weights.values())) > 1:
        listed = ", ".join(f"{name} by {digest}" for name, digest in weights.items())
        raise JobError(f"The results are of different weights ({listed}). Run make findings for all.")


def render_curves(results: Mapping[str, Any]) -> dict[str, str]:
    """Render the palette against each score of `CURVES`, with a point for each scale.

    Args:
        results: Results of the study `scales`.

    Returns:
        SVG documents by file name.
    """
    points = collect_points(results)
    return {
        name: render_figure(points, SCORE_TITLES[score], SCORE_TITLES["palette"]) for score, name in CURVES.items()
    }


def collect_points(results: Mapping[str, Any]) -> list[Point]:
    """Convert the means of the study `scales` to points of an evaluation."""
    settings = [Setting(Arm(results["plain"]), None)]
    settings += [Setting(Arm(arm), scale) for arm in results["arms"] for scale in results["scales"]]
    points = []
    for setting in settings:
        means = results["means"][setting.scaled_arm.name]
        estimates = {SCORE_TITLES[score]: estimate_mean(means[score]) for score in (*CURVES, "palette")}
        scores = {title: (one.mean, one.low, one.high) for title, one in estimates.items()}
        points.append(Point(setting, scores, len(means["palette"])))
    return points


def _format_scales(results: Mapping[str, Any]) -> dict[str, str]:
    means, plain, scales = results["means"], results["plain"], results["scales"]
    names = [point.setting.scaled_arm.name for point in collect_points(results)]
    all_blocks, style_blocks = results["arms"][:2]
    return {
        "free_scales": "\n".join(verdicts.describe_free_scales(means, arm, scales, plain) for arm in results["arms"]),
        "compared_scales": verdicts.compare_scales(means, all_blocks, scales, f"{style_blocks} at 1"),
        "recommended_scale": verdicts.recommend_scale(means, style_blocks, scales, plain, DEFAULT_SCALE),
        "sweep": tables.format_arms(means, names, ("leak", "subject", "palette")),
    }


def _format_command(file: Mapping[str, Any]) -> str:
    settings = file["settings"]
    environment = (
        f"{format_machine(settings['machine'])}; torch {settings['torch']}, diffusers {settings['diffusers']}"
    )
    return f"- `{settings['command']}`: {file['question']} ({environment})"


def _format_counts(name: str, settings: Mapping[str, Any]) -> str:
    requested = settings["asked"]
    return (
        f"- {name}: {settings['references']} held-out references × {len(requested)} requested objects "
        f"({', '.join(requested)}) = {settings['references'] * len(requested)} images an arm, "
        f"{settings['steps']} steps, seed {settings['seed']}"
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, force=True) as draft:
        draft.write_text(text, encoding="utf-8")


def main() -> None:
    """Write the page and its curves."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the studies' files")
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    args = parser.parse_args()
    files = read_results(args.results, STUDIES)
    text = render_page(files)
    for name, figure in render_curves(files["scales"]["results"]).items():
        _write(args.output.parent / "images" / name, figure)
    _write(args.output, text)
    print(args.output)


if __name__ == "__main__":
    main()
