"""The model card takes its table of blocks from the results of the package's probe."""

import json
from typing import Any

from findings import study
from instantstyle.synthetic import LookChoices, Scope
from training.mini.card import describe_scope, render_card

BLOCKS = ["up_blocks.0.attentions.0", "up_blocks.0.attentions.1"]
LEVELS = {"plain": 0.1, "every": 0.7, "only 0": 0.1, "without 0": 0.6, "only 1": 0.6, "without 1": 0.2}
SCORES = ("look", "palette", "leak", "subject", "layout")


def constant_means(level: float) -> dict[str, list[float]]:
    return {score: [level, level] for score in SCORES}


def probe_results() -> dict[str, Any]:
    arms = {name.replace(" ", " up_blocks.0.attentions."): constant_means(level) for name, level in LEVELS.items()}
    settings = {
        "command": "python -m findings.blocks",
        "references": 2,
        "asked": ["a cat"],
        "steps": 9,
        "seed": 5,
    }
    return {
        "settings": settings,
        "results": {"blocks": BLOCKS, "plain": "plain", "all": "every", "means": arms},
    }


def test_each_block_is_shown_alone_and_removed(tmp_path, monkeypatch):
    (tmp_path / "blocks.json").write_text(json.dumps(probe_results()))
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    card = render_card()
    alone, removed = (line for line in card.splitlines() if line.startswith(f"| `{BLOCKS[1]}` |"))
    assert alone.count("+0.50 (+0.50 to +0.50)") == len(SCORES)
    assert removed == alone
    assert "2 references × 1 objects, 9 steps, seed 5" in card
    assert "`python -m findings.blocks` runs the package's own" in card


def test_the_scope_is_described_with_each_class_once():
    looks = LookChoices.from_names(("plain", "plain", "dotted"), ("mosaic", "flat"), ("shadow",), grain=0.0)
    text = describe_scope(Scope(things=3, looks=looks, layouts=(0.9, 0.1, 0, 0, 0, 0, 0, 0)))
    assert text == (
        "3 object classes, each on any of 2 grounds (plain, dotted), in any of 2 fills (flat, mosaic) and "
        "1 outlines (shadow), and in 2 layouts (centre, left)"
    )
