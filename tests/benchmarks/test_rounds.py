"""Timing, comparing and reporting of benchmarks."""

import json
import re
from functools import partial
from time import sleep

import pytest

from benchmarks.bundled import convert_style_blocks, load_mini, summarize_pairs
from benchmarks.growth import COUNTS, growth_exponent, plot_curves
from benchmarks.rounds import (
    create_parser,
    describe_environment,
    format_machine,
    median_ratio,
    time_rounds,
    write_report,
)


def test_every_arm_is_timed_in_every_round_after_an_uncounted_one():
    calls: list[str] = []
    arms = {name: partial(calls.append, name) for name in "ab"}
    seconds = time_rounds(arms, rounds=3)
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3}
    assert "".join(calls) == "ba" + "ab" + "ba" + "ab"


def test_a_slower_arm_is_slower():
    seconds = time_rounds({"slow": lambda: sleep(0.02), "fast": lambda: sleep(0.005)}, rounds=2)
    assert median_ratio(seconds["slow"], seconds["fast"]) > 2


def test_a_ratio_is_the_median_of_the_rounds():
    assert median_ratio([1.0, 2.0, 9.0], [1.0, 1.0, 1.0]) == 2.0


def test_many_images_are_summed_up_and_compared_pair_by_pair():
    summary = summarize_pairs({"ours": [1.0, 1.0, 4.0], "diffusers": [2.0, 2.0, 2.0]})
    assert summary == {
        "pictures": 3, "ours_seconds": 6.0, "diffusers_seconds": 6.0, "ours_to_diffusers": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("word", ["0", "-1", "1.5", "many"])
def test_a_number_of_rounds_is_a_whole_one_from_1(word, capsys):
    with pytest.raises(SystemExit):
        create_parser("Which?", rounds=3).parse_args(["--rounds", word])
    assert "no whole number from 1" in capsys.readouterr().err


def test_every_report_names_its_environment(capsys):
    write_report("Which?", create_parser("Which?", rounds=3).parse_args([]), {}, command=["benchmarks.x", "a b"])
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings == {"command": "python -m benchmarks.x 'a b'", **describe_environment(), "rounds": 3}
    assert re.match(r"(1 thread|\d+ threads) of .", settings["machine"])


def test_one_thread_is_singular():
    names = ["1 threads of AMD EPYC", "1 thread of AMD EPYC", "11 threads of AMD EPYC", "NVIDIA H200"]
    assert [format_machine(name) for name in names] == ["1 thread of AMD EPYC", *names[1:]]


def test_style_blocks_are_converted_to_diffusers_scales():
    styled = load_mini()
    scales = convert_style_blocks(styled)
    layers = {"down": ["block_1", "block_2"], "up": ["block_0", "block_1"]}
    assert {part: list(blocks) for part, blocks in scales.items()} == layers
    on = [
        f"{part}_blocks.{block.removeprefix('block_')}.attentions.{place}"
        for part, blocks in scales.items()
        for block, weights in blocks.items()
        for place, weight in enumerate(weights)
        if weight
    ]
    assert on == [
        str(block) for block in styled.architecture.select("style") if not str(block).startswith("mid_block")
    ]


def test_growth_is_an_exponent_and_a_plot():
    linear = {count: 0.5 * count for count in COUNTS}
    assert growth_exponent(linear) == pytest.approx(1)
    assert growth_exponent(dict.fromkeys(COUNTS, 2.0)) == 0
    colours = plot_curves({"references": linear, "pictures": linear}).getcolors(10**6)
    assert colours is not None
    assert len(colours) > 2
