"""The model card takes its table of blocks from what the package's probe found."""

import json

from findings import study
from instantstyle.synthetic import LookKinds, Scope
from training.mini.card import render, scope_words

BLOCKS = ["up_blocks.0.attentions.0", "up_blocks.0.attentions.1"]
LEVELS = {"plain": 0.1, "every": 0.7, "only 0": 0.1, "without 0": 0.6, "only 1": 0.6, "without 1": 0.2}
SCORES = ("look", "palette", "leak", "subject", "layout")


def means(level: float) -> dict[str, list[float]]:
    return {score: [level, level] for score in SCORES}


def found() -> dict:
    arms = {name.replace(" ", " up_blocks.0.attentions."): means(level) for name, level in LEVELS.items()}
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


def test_each_block_is_told_alone_and_left_out(tmp_path, monkeypatch):
    (tmp_path / "blocks.json").write_text(json.dumps(found()))
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    card = render()
    alone, left_out = (line for line in card.splitlines() if line.startswith(f"| `{BLOCKS[1]}` |"))
    assert alone.count("+0.50 (+0.50 to +0.50)") == len(SCORES)
    assert left_out == alone
    assert "2 references × 1 things, 9 steps, seed 5" in card
    assert "`python -m findings.blocks`, the package's own" in card


def test_what_mini_knows_is_told_from_its_scope_each_kind_once():
    kinds = LookKinds.named(("plain", "plain", "dotted"), ("mosaic", "flat"), ("shadow",), grain=0.0)
    told = scope_words(Scope(things=3, kinds=kinds, layouts=(0.9, 0.1, 0, 0, 0, 0, 0, 0)))
    assert told == (
        "3 things, each on any of 2 grounds (plain, dotted), in any of 2 fills (flat, mosaic) and 1 outlines "
        "(shadow), and in 2 layouts (centre, left)"
    )
