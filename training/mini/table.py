"""Measure the table of the model card: every arm on held-out pairs, with 95 % intervals.

    python -m training.mini.table mini -o training/mini/results/table.json

Means, intervals and the classifier's own accuracy are written to the file.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Generator

import instantstyle
from instantstyle.metrics import (
    SCORE_TITLES,
    SyntheticScores,
    attribute_labels,
    bootstrap_interval,
    load_classifier,
)
from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from training.mini.arms import ARMS, Pairs, generate_images, score_images
from training.mini.settings import IMAGE_SIZE

SCORES = ("asked", "leak", "palette", "look", "layout")
"""Scores of the table, by their names in the results."""

REFERENCE = "the reference itself"
ARM_NAMES = {
    "style blocks, a picture of no thing": "style blocks, abstract image",
    "all blocks, no words": "all blocks, empty prompt",
}
"""Names in the table of arms whose key in the results differs."""

Row = dict[str, list[float]]
"""By score: the mean and the ends of its 95 % interval."""


def measure_arms(styled: instantstyle.InstantStyle, pairs: Pairs, **arguments: Any) -> dict[str, Row]:
    """Generate and score every arm.

    Args:
        styled: The model.
        pairs: References and requested objects.
        arguments: Further arguments of the calls.

    Returns:
        The arms' rows. The last row scores the references themselves, which is the most that an arm can
        reach.
    """
    rows = {}
    for name, arm in ARMS.items():
        rows[name] = summarize(score_images(generate_images(styled, pairs, arm, **arguments), pairs), pairs)
        if not arm.with_prompt:
            del rows[name]["asked"]
        print(f"{name:32}", {score: rows[name][score][0] for score in rows[name]}, flush=True)
    rows[REFERENCE] = summarize(score_images(pairs.pixels[pairs.references], pairs), pairs)
    del rows[REFERENCE]["asked"]
    return rows


def summarize(scores: SyntheticScores, pairs: Pairs) -> Row:
    """Return each score's mean and the ends of its interval over references."""
    row = {}
    for score in (*SCORES, "palette", "ground", "fill", "outline"):
        values = getattr(scores, score)
        low, high = bootstrap_interval(values, pairs.references)
        row[score] = [round(number, 3) for number in (values.mean().item(), low, high)]
    return row


def measure_classifier_accuracy(count: int, seed: int) -> dict[str, float]:
    """Return the classifier's accuracy for each attribute on held-out scenes of the synthetic dataset."""
    scenes = sample_scenes(count, Generator().manual_seed(seed), MINI_SCOPE, held_out=True)
    with torch.no_grad():
        predictions = load_classifier()(scenes.render(IMAGE_SIZE))
    correct = {
        name: (predictions[name] == classes).float().mean() for name, classes in attribute_labels(scenes).items()
    }
    return {name: round(share.item(), 3) for name, share in correct.items()}


def format_table(rows: dict[str, Row]) -> str:
    """Format the rows as the Markdown table of the model card."""
    titles = [SCORE_TITLES[score] for score in SCORES]
    lines = [f"| arm | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
    for arm, scores in rows.items():
        cells = ["{:.2f} ({:.2f}–{:.2f})".format(*scores[score]) if score in scores else "–" for score in SCORES]
        lines.append(f"| {ARM_NAMES.get(arm, arm)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the table, write it as JSON and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="mini")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--references", type=int, default=32)
    parser.add_argument("--asked", type=int, default=4, help="objects requested with each reference")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    styled = instantstyle.load(args.model)
    styled.pipe.set_progress_bar_config(disable=True)
    rows = measure_arms(styled, Pairs.sample(args.references, args.asked, args.seed))
    settings = {name: getattr(args, name) for name in ("references", "asked", "seed")}
    accuracy = measure_classifier_accuracy(1000, args.seed)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps({"settings": settings, "classifier": accuracy, "arms": rows}, indent=1) + "\n")
    print(format_table(rows))


if __name__ == "__main__":
    main()
