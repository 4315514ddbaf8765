"""The table that the model card and the README show: every arm on held-out pairs, with 95 % intervals.

    python -m training.mini.table mini -o training/mini/results/table.json

The numbers behind it, and the judge's own accuracy, go to the file.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Generator

import instantstyle
from instantstyle.metrics import Scores, facts_of, interval
from instantstyle.metrics import classifier as judge
from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from training.mini.arms import ARMS, Pairs, draw, scored
from training.mini.settings import PICTURE

SHOWN = {
    "asked": "asked thing seen",
    "leak": "reference's thing seen",
    "palette": "palette",
    "look": "look",
    "layout": "layout",
}


ITSELF = "the reference itself"


def table(
    styled: instantstyle.InstantStyle, pairs: Pairs, **arguments: Any
) -> dict[str, dict[str, list[float]]]:
    """Arm → score → mean and the ends of its interval.

    The last row scores the references' own pictures: no arm can be read better than they are.
    """
    rows = {}
    for name, arm in ARMS.items():
        rows[name] = measured(scored(draw(styled, pairs, arm, **arguments), pairs), pairs)
        if not arm.words:
            del rows[name]["asked"]
        print(f"{name:32}", {score: rows[name][score][0] for score in rows[name]}, flush=True)
    rows[ITSELF] = measured(scored(pairs.pixels[pairs.references], pairs), pairs)
    del rows[ITSELF]["asked"]
    return rows


def measured(scores: Scores, pairs: Pairs) -> dict[str, list[float]]:
    """Each score's mean and the ends of its interval."""
    found = {}
    for score in (*SHOWN, "palette", "ground", "fill", "outline"):
        values = getattr(scores, score)
        low, high = interval(values, pairs.references)
        found[score] = [round(number, 3) for number in (values.mean().item(), low, high)]
    return found


def judge_accuracy(count: int, seed: int) -> dict[str, float]:
    """The judge on scenes never trained on, drawn by the world itself."""
    scenes = sample_scenes(count, Generator().manual_seed(seed), MINI_SCOPE, held_out=True)
    with torch.no_grad():
        seen = judge()(scenes.pictures(PICTURE))
    right = {name: (seen[name] == shown).float().mean() for name, shown in facts_of(scenes).items()}
    return {name: round(share.item(), 3) for name, share in right.items()}


def markdown(rows: dict[str, dict[str, list[float]]]) -> str:
    """The table as it stands in README and model card."""
    lines = [f"| arm | {' | '.join(SHOWN.values())} |", f"|---|{'---|' * len(SHOWN)}"]
    for arm, scores in rows.items():
        cells = [
            "{:.2f} ({:.2f}–{:.2f})".format(*scores[score]) if score in scores else "–" for score in SHOWN
        ]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="mini")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--references", type=int, default=32)
    parser.add_argument("--asked", type=int, default=4, help="things asked for with each reference")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    styled = instantstyle.load(args.model)
    styled.pipe.set_progress_bar_config(disable=True)
    rows = table(styled, Pairs.drawn(args.references, args.asked, args.seed))
    told = {name: getattr(args, name) for name in ("references", "asked", "seed")}
    result = {"settings": told, "judge": judge_accuracy(1000, args.seed), "arms": rows}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
