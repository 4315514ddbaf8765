"""`instantstyle demo`: the method on one sheet, here of the small random model in one step."""

import os
from dataclasses import replace

import pytest
from PIL import Image

from instantstyle.cli.demo import _sample_held_out_rows
from instantstyle.generation.comparison_sheet import TILE_SIDE, GAP, HEAD
from instantstyle.models import CARDS
from instantstyle.synthetic import THINGS


@pytest.fixture(autouse=True)
def mini(model, monkeypatch) -> None:
    files = {"pipeline": str(model), "adapter": "ip-adapter_small.safetensors"}
    card = replace(CARDS["mini"], **files, defaults={"num_inference_steps": 1})
    monkeypatch.setitem(CARDS, "mini", card)


def grid(path) -> tuple[int, int]:
    """Rows and columns of a sheet."""
    with Image.open(path) as sheet:
        return (sheet.height - HEAD - GAP) // (TILE_SIDE + GAP), (sheet.width - GAP) // (TILE_SIDE + GAP)


def test_alone_it_draws_three_references_and_all_ways(run, tmp_path):
    done = run("demo")
    assert (done.code, done.out, done.err) == (0, "demo.png\n", "")
    assert os.listdir(tmp_path) == ["demo.png"]
    assert grid("demo.png") == (3, 5)


def test_with_references_of_ones_own_it_draws_a_row_for_each(run, tmp_path, reference):
    reference.save(tmp_path / "ink.png")
    run("demo", "a cat", "--style", "ink.png", "--style", "ink.png", "-o", "own.png")
    assert grid("own.png") == (2, 4)
    run("demo", "a cat", "--style", "ink.png", "--content", "a tree", "-o", "told.png")
    assert grid("told.png") == (1, 5)


def test_the_same_seed_draws_the_same_sheet(run, tmp_path):
    for name, seed in (("one.png", 3), ("two.png", 3), ("other.png", 4)):
        run("demo", "--seed", seed, "-o", name)
    one, two, other = (tmp_path.joinpath(name).read_bytes() for name in ("one.png", "two.png", "other.png"))
    assert one == two != other


def test_a_sheet_that_exists_is_not_overwritten_unless_asked(run, tmp_path):
    (tmp_path / "demo.png").write_bytes(b"mine")
    done = run("demo")
    assert (done.code, done.out) == (2, "")
    assert "demo.png" in done.err
    assert (tmp_path / "demo.png").read_bytes() == b"mine"
    assert run("demo", "--force").code == 0
    assert grid("demo.png") == (3, 5)


def test_a_reference_that_is_not_there_is_one_line_and_leaves_nothing(run, tmp_path):
    done = run("demo", "--style", "nowhere.png")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("seed", range(5))
def test_no_reference_of_ours_shows_what_is_asked_for(seed):
    asked = [*THINGS[:10], "two cacti"]
    rows = _sample_held_out_rows(", ".join(asked), seed)
    shown = [row.content.partition(" ")[2] for row in rows if row.content]
    assert len(shown) == 3
    assert not {*shown} & {*asked, "cactus"}
