import json
from time import sleep

import pytest

from benchmarks.bundled import many, ours, scales
from benchmarks.growth import COUNTS, exponent, plotted
from benchmarks.rounds import machine, parser, ratio, report, timed


def test_every_arm_is_timed_in_every_round_and_the_warming_up_is_not_counted():
    calls = []
    arms = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = timed(arms, rounds=3)
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3}
    assert "".join(calls) == "ba" + "ab" + "ba" + "ab"


def test_a_slower_arm_is_slower():
    seconds = timed({"slow": lambda: sleep(0.02), "fast": lambda: sleep(0.005)}, rounds=2)
    assert ratio(seconds["slow"], seconds["fast"]) > 2


def test_a_ratio_is_the_median_of_the_rounds():
    assert ratio([1.0, 2.0, 9.0], [1.0, 1.0, 1.0]) == 2.0


def test_many_pictures_are_told_by_their_sum_and_by_the_median_of_their_pairs():
    told = many({"ours": [1.0, 1.0, 4.0], "diffusers": [2.0, 2.0, 2.0]})
    assert told == {
        "pictures": 3, "ours_seconds": 6.0, "diffusers_seconds": 6.0, "ours_to_diffusers": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("word", ["0", "-1", "1.5", "many"])
def test_a_number_of_rounds_is_a_whole_one_from_1(word, capsys):
    with pytest.raises(SystemExit):
        parser("Which?", rounds=3).parse_args(["--rounds", word])
    assert "no whole number from 1" in capsys.readouterr().err


def test_every_report_names_its_machine_alike(capsys):
    report("Which?", parser("Which?", rounds=3).parse_args([]), {}, command=["benchmarks.x", "a b"])
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings == {"command": "python -m benchmarks.x 'a b'", **machine(), "rounds": 3}
    assert settings["machine"].partition(" threads of ")[2]


def test_diffusers_is_told_the_same_blocks_in_its_own_words():
    styled = ours()
    told = scales(styled)
    layers = {"down": ["block_1", "block_2"], "up": ["block_0", "block_1"]}
    assert {part: list(blocks) for part, blocks in told.items()} == layers
    on = [
        f"{part}_blocks.{block.removeprefix('block_')}.attentions.{place}"
        for part, blocks in told.items()
        for block, weights in blocks.items()
        for place, weight in enumerate(weights)
        if weight
    ]
    assert on == [str(block) for block in styled.architecture.select("style") if block.stage != "mid_block"]


def test_growth_is_told_as_an_exponent_and_drawn():
    linear = {count: 0.5 * count for count in COUNTS}
    assert exponent(linear) == pytest.approx(1)
    assert exponent(dict.fromkeys(COUNTS, 2.0)) == 0
    assert len(plotted({"references": linear, "pictures": linear}).getcolors(10**6)) > 2
