"""How the references of the demo sheet are chosen, and that the shipped choice follows the rule."""

import json
from typing import Any

import pytest

import findings.demo as demo
from findings.study import load_mini
from instantstyle.synthetic import THINGS
from instantstyle.synthetic.demo_scenes import CHOICE, sample_demo_candidates

CANDIDATES = sample_demo_candidates()


def test_chosen_are_those_where_all_blocks_leak_and_style_blocks_do_not(monkeypatch):
    """Of candidates 0 to 3: no leak, a leak in both, chosen; and one that shows the prompted object is left out."""
    shown = [THINGS[thing] for thing in CANDIDATES.thing[:4].tolist()]
    assert len({*shown}) == 4
    monkeypatch.setattr(demo, "PROMPTED", shown[3])
    in_all = {shown[0]: shown[3], shown[1]: shown[1], shown[2]: shown[2]}
    in_style = {shown[1]: shown[1], shown[2]: shown[3]}
    seeds = []

    def find(styled: Any, scene: Any, blocks: str, seed: int) -> str:
        seeds.append(seed)
        return (in_all if blocks == "all" else in_style)[THINGS[int(scene.thing[0])]]

    monkeypatch.setattr(demo, "find_object", find)
    model: Any = None
    assert demo.choose_references(model, CANDIDATES[:4], 2) == ([2], 3)
    assert demo.choose_references(model, CANDIDATES[:4], 1) == ([2], 3)
    assert {*seeds} == {0}


def test_the_command_writes_what_it_has_chosen(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, "load_mini", lambda: None)
    monkeypatch.setattr(demo, "choose_references", lambda styled, candidates, chosen: ([chosen], len(candidates)))
    demo.main(["--tried", "3", "--chosen", "2", "-o", str(tmp_path / "scenes.json")])
    written = json.loads((tmp_path / "scenes.json").read_text())
    assert written == {"settings": {"prompt": f"a {demo.PROMPTED}", "seed": demo.SEED}, "tried": 3, "chosen": [2]}
    assert capsys.readouterr().out == f"{tmp_path / 'scenes.json'}: 1 of 3\n"


@pytest.mark.slow
def test_the_shipped_choice_follows_the_rule():
    styled, choice = load_mini(), json.loads(CHOICE.read_text())
    assert choice["settings"] == {"prompt": f"a {demo.PROMPTED}", "seed": demo.SEED}
    assert 3 <= len({*choice["chosen"]}) == len(choice["chosen"])
    for seed, number in enumerate(choice["chosen"][:3], demo.SEED):
        scene = CANDIDATES[number : number + 1]
        assert demo.find_object(styled, scene, "all", seed) == THINGS[int(scene.thing[0])]
        assert demo.find_object(styled, scene, "style", seed) == demo.PROMPTED
