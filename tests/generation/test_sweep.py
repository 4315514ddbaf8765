"""A grid differs from cell to cell in its axes' fields and in nothing else."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from instantstyle.errors import BlockError, JobError
from instantstyle.generation.generate import generate
from instantstyle.generation.sweep import SIDE, Grid, grid_in, save, sweep
from instantstyle.generation.sweep_axis import SweepAxis
from instantstyle.imaging.grid import GAP, HEAD, LABEL, TILE
from instantstyle.recipe import Recipe

from ..unet.test_probe_file import STYLE, probe_file

TINY = {"num_inference_steps": 1, "height": 16, "width": 16}


@pytest.fixture
def base(tmp_path, monkeypatch, reference) -> Recipe:
    monkeypatch.chdir(tmp_path)
    reference.save(tmp_path / "ink.png")
    return Recipe.model_validate({"prompt": "a", "seed": 7, "references": [{"name": "ink.png"}], **TINY})


def tile(sheet: Image.Image, down: int, across: int) -> Image.Image:
    left, top = LABEL + GAP + across * (TILE + GAP), HEAD + down * (TILE + GAP)
    return sheet.crop((left, top, left + TILE, top + TILE))


def alone(styled, recipe: Recipe) -> Image.Image:
    """The cell's picture drawn by itself, as large as in the grid."""
    [(picture, _)] = generate(styled, recipe)
    return picture.resize((TILE, TILE), Image.Resampling.LANCZOS)


def test_every_cell_is_the_picture_that_its_own_recipe_makes(styled, base):
    grid = Grid(base, SweepAxis("scale", (0.5, 2.0)), SweepAxis("blocks", ("style", "all")))
    sheet, _ = sweep(styled, grid)
    shown = set()
    for down, row in enumerate(grid.rows):
        for across, recipe in enumerate(row):
            picture = tile(sheet, down, across)
            assert picture.tobytes() == alone(styled, recipe).tobytes()
            shown.add(picture.tobytes())
    assert len(shown) == 4


def test_cells_differ_from_the_base_in_the_axes_alone(base):
    grid = Grid(base, SweepAxis("scale", (0.5, 1.0)), SweepAxis("blocks", ("style", "all")))
    told = [(recipe.scale, recipe.blocks) for recipe in grid.cells]
    assert told == [(0.5, "style"), (1.0, "style"), (0.5, "all"), (1.0, "all")]
    assert {recipe.but(scale=base.scale, blocks=base.blocks) == base for recipe in grid.cells} == {True}


def test_one_axis_is_one_row(styled, base):
    grid = Grid(base, SweepAxis("seed", (1, 2)))
    assert ([recipe.seed for recipe in grid.cells], grid.columns, grid.lines) == (
        [1, 2],
        ["seed 1", "seed 2"],
        ["a"],
    )
    sheet, _ = sweep(styled, grid)
    assert tile(sheet, 0, 0).tobytes() != tile(sheet, 0, 1).tobytes()


def test_a_reference_is_seen_once_for_the_whole_grid(styled, base, tmp_path, monkeypatch):
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    seen, encoder = [], styled.image_encoder
    embed = encoder.embed
    monkeypatch.setattr(encoder, "embed", lambda images, crop: seen.append(1) or embed(images, crop))
    sweep(styled, Grid(base, SweepAxis("scale", (0.5, 1.0)), SweepAxis.parse("style=ink.png,teal.png")))
    assert len(seen) == 2


def test_cells_that_differ_in_their_seeds_alone_are_made_ready_once(styled, base, monkeypatch):
    made, style = [], styled.style
    monkeypatch.setattr(styled, "style", lambda *given, **named: made.append(1) or style(*given, **named))
    sweep(styled, Grid(base, SweepAxis("seed", (1, 2, 3)), SweepAxis("scale", (0.5, 1.0))))
    assert len(made) == 2


def test_a_listener_is_told_of_every_picture(styled, base):
    told = []
    sweep(styled, Grid(base, SweepAxis("scale", (0.5, 1.0))), lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


def test_large_pictures_are_made_small(styled, base):
    sheet, _ = sweep(styled, Grid(base.but(height=1024), SweepAxis("scale", (0.0,))))
    assert sheet.size == (LABEL + SIDE + 2 * GAP, HEAD + SIDE + GAP)


def test_the_picture_carries_base_and_axes_complete(styled, base, tmp_path):
    grid = Grid(
        base.but(num_inference_steps=None), SweepAxis("scale", (0.5, 1.0)), SweepAxis("content_scale", (0.5,))
    )
    sheet, drawn = sweep(styled, grid)
    save(sheet, drawn, "grid.png")
    with Image.open("grid.png") as image:
        held = json.loads(image.info["instantstyle-sweep"])
    assert held["x"] == {"field": "scale", "values": [0.5, 1.0]}
    assert (held["recipe"]["scale"], held["recipe"]["content_scale"]) == (1.0, None)
    assert held["recipe"]["num_inference_steps"] == styled.pipe.num_timesteps
    assert held["recipe"]["scheduler"] == "DDIMScheduler"
    again = grid_in("grid.png")
    assert again
    assert again.rows == drawn.rows


def test_a_grid_can_be_drawn_again_from_its_picture(styled, base):
    grid = Grid(base, SweepAxis.parse("style=,ink.png"), SweepAxis("seed", (1, 2)))
    sheet, drawn = sweep(styled, grid)
    kept = grid_in(save(sheet, drawn, "grid.png"))
    assert kept
    assert sweep(styled, kept)[0].tobytes() == sheet.tobytes()


def test_a_probes_file_is_kept_as_names_of_blocks(styled, base, tmp_path):
    probe_file(tmp_path / "probe.json")
    grid = Grid(base.but(blocks="probe.json"), SweepAxis("blocks", ("style", "probe.json")))
    _, drawn = sweep(styled, grid)
    assert grid.columns[1] == "blocks probe.json"
    assert (drawn.x.values, drawn.base.blocks) == (("style", "+".join(STYLE)), "+".join(STYLE))


def test_wrong_blocks_in_the_last_cell_are_refused_before_the_first_is_drawn(styled, base):
    told = []
    grid = Grid(base, SweepAxis("blocks", ("style", "stile")))
    with pytest.raises(BlockError, match="Did you mean style"):
        sweep(styled, grid, lambda done, of: told.append(done))
    assert told == []


@pytest.mark.parametrize(
    ("x", "y", "told"),
    [
        (SweepAxis("seed", (1,)), SweepAxis("seed", (2,)), "Both axes go over seed"),
        (SweepAxis("seed", (1,)), SweepAxis("scale", (1.0,)), "scale acts on a reference, and there is none"),
        (SweepAxis("seed", (1, -1)), None, "seed is -1"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(x, y, told):
    with pytest.raises(JobError, match=told):
        Grid(Recipe(prompt="a", seed=1), x, y)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        *((text, "no grid's JSON") for text in ("", "[]", "{}", '{"version": 1, "y": null, "x": null}')),
        ('{"version": 2}', "of version 2, not 1"),
        (
            '{"version": 1, "y": null, "x": {"field": "seed", "values": [1]}, "recipe": {}}',
            "prompt is missing",
        ),
    ],
)
def test_what_is_no_grid_is_refused(text, told):
    with pytest.raises(JobError, match=told):
        Grid.from_json(text)


def test_a_picture_of_another_kind_carries_no_grid(base):
    assert grid_in("ink.png") is None


def test_the_documented_lines_of_python_run(styled, base):
    document = (Path(__file__).parents[2] / "docs" / "sweep.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    # A step and few pixels, as nobody looks at them.
    code = code.replace("seed=7", f"seed=7, {', '.join(f'{name}={value}' for name, value in TINY.items())}")
    exec(code, {"styled": styled})
    assert grid_in("grid.png")
