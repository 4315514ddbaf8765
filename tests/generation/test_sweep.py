"""The cells of a grid differ in the fields of the axes and in nothing else."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from instantstyle.errors import BlockError, JobError, StyleError
from instantstyle.generation.generate import generate
from instantstyle.generation.sweep import MAX_TILE_SIDE, Grid, read_grid, save_grid, sweep
from instantstyle.generation.sweep_axis import SweepAxis
from instantstyle.imaging.grid import GAP, HEADER_HEIGHT, LABEL_WIDTH, TILE_SIDE
from instantstyle.recipe import Recipe

from ..unet.test_probe_file import STYLE, probe_file

TINY = {"num_inference_steps": 1, "height": 16, "width": 16}


@pytest.fixture
def base(tmp_path, monkeypatch, reference) -> Recipe:
    monkeypatch.chdir(tmp_path)
    reference.save(tmp_path / "ink.png")
    return Recipe.model_validate({"prompt": "a", "seed": 7, "references": [{"name": "ink.png"}], **TINY})


def tile(sheet: Image.Image, down: int, across: int) -> Image.Image:
    left, top = LABEL_WIDTH + GAP + across * (TILE_SIDE + GAP), HEADER_HEIGHT + down * (TILE_SIDE + GAP)
    return sheet.crop((left, top, left + TILE_SIDE, top + TILE_SIDE))


def alone(styled, recipe: Recipe) -> Image.Image:
    """Generate the image of a cell by itself, resized to the tile."""
    [(image, _)] = generate(styled, recipe)
    return image.resize((TILE_SIDE, TILE_SIDE), Image.Resampling.LANCZOS)


def test_every_cell_is_the_image_of_its_own_recipe(styled, base):
    grid = Grid(base, SweepAxis("scale", (0.5, 2.0)), SweepAxis("blocks", ("style", "all")))
    sheet, _ = sweep(styled, grid)
    seen = set()
    for down, row in enumerate(grid.rows):
        for across, recipe in enumerate(row):
            image = tile(sheet, down, across)
            assert image.tobytes() == alone(styled, recipe).tobytes()
            seen.add(image.tobytes())
    assert len(seen) == 4


@pytest.mark.parametrize("values", [(None, "align"), ("swap", None)])
def test_a_cell_of_a_set_is_drawn_again_by_its_own_recipe(styled, base, values):
    sheet, complete = sweep(styled, Grid(base, SweepAxis("shared", values), SweepAxis("seed", (1, 2))))
    for down, row in enumerate(complete.rows):
        for across, recipe in enumerate(row):
            assert tile(sheet, down, across).tobytes() == alone(styled, recipe).tobytes(), (down, across)


def test_all_cells_are_prepared_before_the_first_image(styled, base):
    """A style of another width is refused where the references are encoded."""
    styled.style("ink.png").save("ink.style.safetensors")
    wide = replace(styled.style("ink.png"), image_embeds=torch.ones(1, 7), unconditional=torch.zeros(7))
    wide.save("wide.style.safetensors")
    values = tuple(({"name": name},) for name in ("ink.png", "ink.style.safetensors", "wide.style.safetensors"))
    made: list[int] = []
    content = base.replace(content=("a cat",))
    with pytest.raises(StyleError, match="width"):
        sweep(styled, Grid(content, SweepAxis("references", values)), lambda done, _: made.append(done))
    assert made == []


def test_empty_values_mean_none():
    fields = ("scheduler", "num_inference_steps", "colour_transfer", "content_scale", "shared", "mask")
    assert {SweepAxis.parse(f"{field}=,").values for field in fields} == {(None,)}


def test_a_colour_transfer_of_an_image_of_its_own_is_swept_without_references(base):
    plain = base.replace(references=(), colour_image={"name": "warm.png"}, colour_transfer=0.5)
    grid = Grid(plain, SweepAxis("colour_transfer", (0.2, 0.8)))
    assert [cell.colour_transfer for cell in grid.cells] == [0.2, 0.8]
    with pytest.raises(JobError, match="colour_transfer can only act on a reference"):
        Grid(plain.replace(colour_image=None), SweepAxis("colour_transfer", (0.2, 0.8)))


def test_cells_differ_from_the_base_in_the_axes_alone(base):
    grid = Grid(base, SweepAxis("scale", (0.5, 1.0)), SweepAxis("blocks", ("style", "all")))
    settings = [(recipe.scale, recipe.blocks) for recipe in grid.cells]
    assert settings == [(0.5, "style"), (1.0, "style"), (0.5, "all"), (1.0, "all")]
    assert {recipe.replace(scale=base.scale, blocks=base.blocks) == base for recipe in grid.cells} == {True}


def test_one_axis_is_one_row(styled, base):
    grid = Grid(base, SweepAxis("seed", (1, 2)))
    assert ([recipe.seed for recipe in grid.cells], grid.column_labels, grid.row_labels) == (
        [1, 2],
        ["seed 1", "seed 2"],
        ["a"],
    )
    sheet, _ = sweep(styled, grid)
    assert tile(sheet, 0, 0).tobytes() != tile(sheet, 0, 1).tobytes()


def test_a_reference_is_encoded_once_for_the_whole_grid(styled, base, tmp_path, monkeypatch):
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    seen, encoder = [], styled.image_encoder
    embed = encoder.embed
    monkeypatch.setattr(encoder, "embed", lambda images, crop: seen.append(1) or embed(images, crop))
    sweep(styled, Grid(base, SweepAxis("scale", (0.5, 1.0)), SweepAxis.parse("style=ink.png,teal.png")))
    assert len(seen) == 2


def test_cells_that_differ_only_in_their_seeds_are_prepared_once(styled, base, monkeypatch):
    made, style = [], styled.style
    monkeypatch.setattr(styled, "style", lambda *args, **kwargs: made.append(1) or style(*args, **kwargs))
    sweep(styled, Grid(base, SweepAxis("seed", (1, 2, 3)), SweepAxis("scale", (0.5, 1.0))))
    assert len(made) == 2


def test_the_callback_is_called_after_every_image(styled, base):
    calls = []
    sweep(styled, Grid(base, SweepAxis("scale", (0.5, 1.0))), lambda done, of: calls.append((done, of)))
    assert calls == [(1, 2), (2, 2)]


def test_large_images_are_reduced(styled, base):
    sheet, _ = sweep(styled, Grid(base.replace(height=1024), SweepAxis("scale", (0.0,))))
    assert sheet.size == (LABEL_WIDTH + MAX_TILE_SIDE + 2 * GAP, HEADER_HEIGHT + MAX_TILE_SIDE + GAP)


@pytest.mark.slow
def test_the_image_carries_the_complete_base_recipe_and_axes(styled, base, tmp_path):
    grid = Grid(
        base.replace(num_inference_steps=None),
        SweepAxis("scale", (0.5, 1.0)),
        SweepAxis("content_scale", (0.5,)),
    )
    sheet, completed = sweep(styled, grid)
    save_grid(sheet, completed, "grid.png")
    with Image.open("grid.png") as image:
        content = json.loads(image.info["instantstyle-sweep"])
    assert content["x"] == {"field": "scale", "values": [0.5, 1.0]}
    assert (content["recipe"]["scale"], content["recipe"]["content_scale"]) == (1.0, None)
    assert content["recipe"]["num_inference_steps"] == styled.pipe.num_timesteps
    assert content["recipe"]["scheduler"] == "DDIMScheduler"
    again = read_grid("grid.png")
    assert again
    assert again.rows == completed.rows


def test_a_grid_can_be_generated_again_from_its_image(styled, base):
    grid = Grid(base, SweepAxis.parse("style=,ink.png"), SweepAxis("seed", (1, 2)))
    sheet, completed = sweep(styled, grid)
    again = read_grid(save_grid(sheet, completed, "grid.png"))
    assert again
    assert sweep(styled, again)[0].tobytes() == sheet.tobytes()


def test_a_probe_file_is_stored_as_block_names(styled, base, tmp_path):
    probe_file(tmp_path / "probe.json")
    grid = Grid(base.replace(blocks="probe.json"), SweepAxis("blocks", ("style", "probe.json")))
    _, completed = sweep(styled, grid)
    assert grid.column_labels[1] == "blocks probe.json"
    assert (completed.x.values, completed.base.blocks) == (("style", "+".join(STYLE)), "+".join(STYLE))


def test_invalid_blocks_in_the_last_cell_raise_an_error_before_the_first_image(styled, base):
    calls = []
    grid = Grid(base, SweepAxis("blocks", ("style", "stile")))
    with pytest.raises(BlockError, match="Did you mean style"):
        sweep(styled, grid, lambda done, of: calls.append(done))
    assert calls == []


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (SweepAxis("seed", (1,)), SweepAxis("seed", (2,)), "Both axes sweep seed"),
        (
            SweepAxis("seed", (1,)),
            SweepAxis("scale", (1.0,)),
            "scale can only act on a reference, and there is none; add --style IMAGE.$",
        ),
        (SweepAxis("hold_layout", (0.5,)), None, "add --style IMAGE, or --lora FILE@BLOCKS.$"),
        (SweepAxis("seed", (1, -1)), None, "seed is -1"),
    ],
)
def test_an_invalid_grid_raises_an_error(x, y, message):
    with pytest.raises(JobError, match=message):
        Grid(Recipe(prompt="a", seed=1), x, y)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "not the JSON of a grid") for text in ("", "[]", "{}", '{"version": 1, "y": null, "x": null}')),
        ('{"version": 2}', "has version 2, not 1"),
        (
            '{"version": 1, "y": null, "x": {"field": "seed", "values": [1]}, "recipe": {}}',
            "prompt is missing",
        ),
    ],
)
def test_text_that_is_not_a_grid_raises_an_error(text, message):
    with pytest.raises(JobError, match=message):
        Grid.from_json(text)


def test_another_image_carries_no_grid(base):
    assert read_grid("ink.png") is None
