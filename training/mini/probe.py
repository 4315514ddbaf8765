"""Which blocks carry style, which layout: each block on alone and off alone, equal seeds, scored.

    python -m training.mini.probe src/instantstyle/models/mini -o training/mini/results/probe.json

The scores are the judge's, on held-out pairs.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import instantstyle
from instantstyle.metrics import Scores
from training.mini.arms import Arm, Pairs, draw, scored


def probe(styled: instantstyle.InstantStyle, pairs: Pairs, **arguments: Any) -> dict[str, dict[str, float]]:
    """Mean scores with no block, every block, each block alone and every block but one."""
    blocks = [str(block) for block in styled.architecture.blocks]
    arms = {"none": Arm(None), "all": Arm("all")}
    arms |= {f"only {block}": Arm(block) for block in blocks}
    arms |= {f"without {block}": Arm({"all": 1.0, block: 0.0}) for block in blocks}
    found = {}
    for name, arm in arms.items():
        found[name] = rounded(scored(draw(styled, pairs, arm, **arguments), pairs))
        print(f"{name:36}", found[name], flush=True)
    return found


def rounded(scores: Scores) -> dict[str, float]:
    return {name: round(value, 3) for name, value in scores.means().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--references", type=int, default=12)
    parser.add_argument("--asked", type=int, default=4, help="things asked for with each reference")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--steps", type=int, default=12)
    args = parser.parse_args()
    styled = instantstyle.load(args.model)
    styled.pipe.set_progress_bar_config(disable=True)
    pairs = Pairs.drawn(args.references, args.asked, args.seed)
    found = probe(styled, pairs, num_inference_steps=args.steps)
    told = {name: getattr(args, name) for name in ("references", "asked", "seed", "steps")}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps({"settings": told, "scores": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
