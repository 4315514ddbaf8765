"""`instantstyle demo`: the comparison sheet, of the small random model in one step."""

import json
import os
from dataclasses import replace
from inspect import signature

import pytest
from PIL import Image

from instantstyle.cli import demo
from instantstyle.cli.demo import _list_rows
from instantstyle.generation.comparison_sheet import LAYOUT, TILE_SIDE
from instantstyle.models import CARDS
from instantstyle.synthetic import THINGS, describe_thing
from instantstyle.synthetic.demo_scenes import CHOICE, sample_demo_candidates


@pytest.fixture(autouse=True)
def mini(model, monkeypatch) -> None:
    files = {"pipeline": str(model), "adapter": "ip-adapter_small.safetensors"}
    card = replace(CARDS["mini"], **files, defaults={"num_inference_steps": 1})
    monkeypatch.setitem(CARDS, "mini", card)


def grid(path) -> tuple[int, int]:
    """Return the numbers of rows and columns of a sheet."""
    with Image.open(path) as sheet:
        pitch = TILE_SIDE + LAYOUT.gap
        return (sheet.height - LAYOUT.header_height) // pitch, (sheet.width - LAYOUT.gap) // pitch


def test_by_default_there_are_three_references_and_all_columns(run, tmp_path):
    done = run("demo")
    assert (done.code, done.out, done.err) == (0, "demo.png\n", "")
    assert os.listdir(tmp_path) == ["demo.png"]
    assert grid("demo.png") == (3, 5)


def test_given_references_have_a_row_each(run, tmp_path, reference):
    reference.save(tmp_path / "ink.png")
    run("demo", "a cat", "--style", "ink.png", "--style", "ink.png", "-o", "own.png")
    assert grid("own.png") == (2, 4)
    run("demo", "a cat", "--style", "ink.png", "--content", "a tree", "-o", "removed.png")
    assert grid("removed.png") == (1, 5)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_sheet(run, tmp_path):
    for name, seed in (("one.png", 3), ("two.png", 3), ("other.png", 4)):
        run("demo", "--seed", seed, "-o", name)
    one, two, other = (tmp_path.joinpath(name).read_bytes() for name in ("one.png", "two.png", "other.png"))
    assert one == two != other


def test_an_existing_sheet_is_overwritten_only_with_force(run, tmp_path):
    (tmp_path / "demo.png").write_bytes(b"mine")
    done = run("demo")
    assert (done.code, done.out) == (2, "")
    assert "demo.png" in done.err
    assert (tmp_path / "demo.png").read_bytes() == b"mine"
    assert run("demo", "--force").code == 0
    assert grid("demo.png") == (3, 5)


def test_a_missing_reference_is_refused_in_one_line_and_nothing_is_written(run, tmp_path):
    done = run("demo", "--style", "nowhere.png")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert os.listdir(tmp_path) == []


def test_no_default_reference_shows_a_prompted_thing():
    prompted = [*THINGS[:10], "two cacti"]
    rows = _list_rows(", ".join(prompted))
    shown = [row.content.partition(" ")[2] for row in rows if row.content]
    assert len(shown) == 3
    assert not {*shown} & {*prompted, "cactus"}


def test_the_references_of_the_default_prompt_are_the_chosen_scenes():
    choice = json.loads(CHOICE.read_text())
    parameters = signature(demo.run).parameters
    assert choice["settings"] == {name: parameters[name].default for name in ("prompt", "seed")}
    things = sample_demo_candidates().thing[choice["chosen"][:3]].tolist()
    assert [row.content for row in _list_rows("a mushroom")] == [describe_thing(thing) for thing in things]


def test_device_steps_and_guidance_reach_the_calls(run, monkeypatch):
    given = {}

    def render(styled, prompt, rows, **arguments):
        given.update(arguments, device=styled.pipe.device.type)
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr("instantstyle.generation.comparison_sheet.render_comparison_sheet", render)
    assert run("demo", "--device", "cpu", "--steps", 2, "--guidance", 3).code == 0
    assert (given["device"], given["num_inference_steps"], given["guidance_scale"]) == ("cpu", 2, 3)
    done = run("demo", "--steps", 0, "--force")
    assert (done.code, "--steps is 0" in done.err) == (2, True)
    assert "no-device" in run("demo", "--device", "no-device", "--force").err
