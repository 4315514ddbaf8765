import pytest
from PIL import Image, ImageChops

from instantstyle.generation.comparison_sheet import (
    GAP,
    HEAD,
    TILE_SIDE,
    ComparisonRow,
    render_comparison_sheet,
)

TINY = {"num_inference_steps": 1, "height": 16, "width": 16}


@pytest.fixture
def draw(styled, reference):
    """A sheet of rows that show the same reference, with or without words for what it shows."""

    def made(*content: str | None, prompt: str = "a", **arguments) -> Image.Image:
        rows = [ComparisonRow(reference, words) for words in content]
        return render_comparison_sheet(styled, prompt, rows, seed=7, **{**TINY, **arguments})

    return made


def cell(sheet: Image.Image, row: int, column: int) -> Image.Image:
    left, top = GAP + column * (TILE_SIDE + GAP), HEAD + GAP + row * (TILE_SIDE + GAP)
    return sheet.crop((left, top, left + TILE_SIDE, top + TILE_SIDE))


def same(first: Image.Image, second: Image.Image) -> bool:
    return ImageChops.difference(first, second).getbbox() is None


def columns(sheet: Image.Image) -> int:
    return (sheet.width - GAP) // (TILE_SIDE + GAP)


@pytest.mark.parametrize("rows", [1, 3])
def test_there_is_a_row_for_each_reference_and_a_column_for_each_way(draw, rows):
    sheet = draw(*["a cat"] * rows)
    assert sheet.size == (GAP + 5 * (TILE_SIDE + GAP), HEAD + GAP + rows * (TILE_SIDE + GAP))


def test_without_words_for_the_content_there_is_no_column_for_its_removal(draw):
    assert columns(draw(None)) == 4
    assert columns(draw(None, "a cat")) == 5


def test_a_row_draws_one_seed_in_all_its_columns(draw):
    """At scale 0 every way is the plain pipeline, so only the seed could part them."""
    sheet = draw("a cat", "a cat", scale=0.0)
    for row in range(2):
        assert all(same(cell(sheet, row, 1), cell(sheet, row, column)) for column in (2, 3, 4))
    assert not same(cell(sheet, 0, 1), cell(sheet, 1, 1))


def test_each_row_counts_the_seed_one_on(draw, styled):
    sheet = draw("a cat", "a cat")
    for row in range(2):
        [plain] = styled("a", seed=7 + row, **TINY).images
        assert same(cell(sheet, row, 1), plain.resize((TILE_SIDE, TILE_SIDE), Image.Resampling.LANCZOS))


def test_the_ways_differ(draw):
    sheet = draw("a cat")
    ways = [cell(sheet, 0, column) for column in range(5)]
    assert not any(same(ways[i], ways[j]) for i in range(5) for j in range(i))


def test_a_reference_without_words_keeps_its_content_beside_others(draw):
    sheet = draw(None, "a cat")
    assert same(cell(sheet, 0, 3), cell(sheet, 0, 4))
    assert not same(cell(sheet, 1, 3), cell(sheet, 1, 4))


def test_the_reference_is_shown_as_it_is_seen(draw):
    shown = {crop: cell(draw(None, crop=crop), 0, 0) for crop in ("center", "pad")}
    assert shown["pad"].getpixel((TILE_SIDE // 2, 0)) == (255, 255, 255), "a wide one gets white above"
    assert shown["center"].getpixel((TILE_SIDE // 2, 0)) != (255, 255, 255)


def test_every_column_has_its_title(draw):
    head = draw("a cat").convert("L").crop((0, 0, GAP + 5 * (TILE_SIDE + GAP), HEAD))
    for column in range(5):
        title = head.crop((GAP + column * (TILE_SIDE + GAP), 0, (column + 1) * (TILE_SIDE + GAP), HEAD))
        assert title.getextrema()[0] < 128


def test_progress_is_told_after_each_picture(draw):
    told = []
    draw("a cat", "a cat", on_picture=lambda done, of: told.append((done, of)))
    assert told == [(done, 8) for done in range(1, 9)]
