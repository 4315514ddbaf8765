"""Results → docs/findings.md and its curves.

    python -m findings.page

Every figure is worked out from files that commands wrote, and every conclusion is chosen by the figures.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from findings import tables, verdicts
from findings.claims import WORDS, claims
from findings.evidence import estimate
from findings.study import RESULTS, read
from instantstyle.core.conditioning import StyleConditioning
from instantstyle.errors import JobError
from instantstyle.evaluation import Point
from instantstyle.evaluation.arms import Setting
from instantstyle.evaluation.curves import figure
from instantstyle.evaluation.experiment import Arm
from instantstyle.utils.atomic_write import atomic_write

PAGE = Path("docs/findings.md")
QUESTIONS = ("cures", "scales", "blocks", "costs")
CURVES = {"leak": "findings-leak.svg", "subject": "findings-subject.svg"}
"""The scores that palette is drawn against, and the files in images/ beside the page."""

DEFAULT = StyleConditioning.scale
"""The scale of a call that names none."""

Files = Mapping[str, Mapping[str, Any]]


def page(files: Files) -> str:
    """The page's text."""
    check_weights(files)
    found = {name: file["results"] for name, file in files.items()}
    return (
        Path(__file__)
        .with_name("page.md")
        .read_text(encoding="utf-8")
        .format(
            claims=claims({name: one["means"] for name, one in found.items() if "means" in one}),
            roles=verdicts.roles(found["blocks"]),
            alone=tables.blocks(found["blocks"], "alone"),
            off=tables.blocks(found["blocks"], "off"),
            commands="\n".join(_command(file) for file in files.values()),
            counts="\n".join(
                _counted(name, file["settings"]) for name, file in files.items() if name != "costs"
            ),
            weights=files["cures"]["settings"]["weights"],
            **_cures(found["cures"], found["costs"]),
            **_scales(found["scales"]),
        )
    )


def check_weights(files: Files) -> None:
    """`JobError` where not all results are of the same weights: together they would describe no model."""
    weights = {name: file["settings"]["weights"] for name, file in files.items()}
    if len(set(weights.values())) > 1:
        told = ", ".join(f"{name} by {digest}" for name, digest in weights.items())
        raise JobError(f"The results are of different weights ({told}); make all anew: make findings.")


def drawn(results: Mapping[str, Any]) -> dict[str, str]:
    """The curves, a file's text each: the palette against each price, a point a scale."""
    points = points_of(results)
    return {name: figure(points, WORDS[price], WORDS["palette"]) for price, name in CURVES.items()}


def points_of(results: Mapping[str, Any]) -> list[Point]:
    """The sweep's means as the evaluation's points."""
    settings = [Setting(Arm(results["plain"]), None)]
    settings += [Setting(Arm(arm), scale) for arm in results["arms"] for scale in results["scales"]]
    return [_point(setting, results["means"][setting.drawn.name]) for setting in settings]


def _point(setting: Setting, means: Mapping[str, list[float]]) -> Point:
    found = {WORDS[score]: estimate(means[score]) for score in (*CURVES, "palette")}
    scores = {name: (one.mean, one.low, one.high) for name, one in found.items()}
    return Point(setting, scores, len(means["palette"]))


def _cures(results: Mapping[str, Any], costs: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    means, places = results["means"], results["places"]
    return {
        "arms": tables.arms(means, [*means]),
        "cured": "\n\n".join(verdicts.cured(means, plain, cures) for plain, cures in places.items()),
        "cure_tables": "\n\n".join(
            tables.cures(means, plain, cures, costs) for plain, cures in places.items()
        ),
    }


def _scales(results: Mapping[str, Any]) -> dict[str, str]:
    means, plain, scales = results["means"], results["plain"], results["scales"]
    names = [point.setting.drawn.name for point in points_of(results)]
    swept, own = results["arms"][:2]
    return {
        "safe": "\n".join(verdicts.safe(means, arm, scales, plain) for arm in results["arms"]),
        "matched": verdicts.matched(means, swept, scales, f"{own} at 1"),
        "begin": verdicts.begin(means, own, scales, plain, DEFAULT),
        "sweep": tables.arms(means, names, ("leak", "subject", "palette")),
    }


def _command(file: Mapping[str, Any]) -> str:
    told = file["settings"]
    where = f"{told['machine']}; torch {told['torch']}, diffusers {told['diffusers']}"
    return f"- `{told['command']}`: {file['question']} ({where})"


def _counted(name: str, told: Mapping[str, Any]) -> str:
    asked = told["asked"]
    return (
        f"- {name}: {told['references']} held-out references × {len(asked)} asked for ({', '.join(asked)}) = "
        f"{told['references'] * len(asked)} pictures an arm, {told['steps']} steps, seed {told['seed']}"
    )


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, force=True) as draft:
        draft.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the questions' files")
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    args = parser.parse_args()
    files = read(args.results, QUESTIONS)
    text = page(files)
    for name, curves in drawn(files["scales"]["results"]).items():
        write(args.output.parent / "images" / name, curves)
    write(args.output, text)
    print(args.output)


if __name__ == "__main__":
    main()
