import pytest
from PIL import Image, ImageChops

from instantstyle.generation.comparison_sheet import TILE_SIDE, ComparisonRow, render_comparison_sheet

GAP, HEADER_HEIGHT = 12, 56  # px

TINY = {"num_inference_steps": 1, "height": 16, "width": 16}


@pytest.fixture
def sheet_of(styled, reference):
    """Return a function that renders a sheet whose rows share one reference, with or without its content."""

    def render(*content: str | None, prompt: str = "a", **arguments) -> Image.Image:
        rows = [ComparisonRow(reference, words) for words in content]
        return render_comparison_sheet(styled, prompt, rows, seed=7, **{**TINY, **arguments})

    return render


def cell(sheet: Image.Image, row: int, column: int) -> Image.Image:
    left, top = GAP + column * (TILE_SIDE + GAP), HEADER_HEIGHT + row * (TILE_SIDE + GAP)
    return sheet.crop((left, top, left + TILE_SIDE, top + TILE_SIDE))


def same(first: Image.Image, second: Image.Image) -> bool:
    return ImageChops.difference(first, second).getbbox() is None


def columns(sheet: Image.Image) -> int:
    return (sheet.width - GAP) // (TILE_SIDE + GAP)


@pytest.mark.parametrize("rows", [1, 3])
def test_there_is_a_row_for_each_reference_and_a_column_for_each_variant(sheet_of, rows):
    sheet = sheet_of(*["a cat"] * rows)
    assert sheet.size == (GAP + 5 * (TILE_SIDE + GAP), HEADER_HEIGHT + rows * (TILE_SIDE + GAP))


def test_without_known_content_there_is_no_column_for_its_removal(sheet_of):
    assert columns(sheet_of(None)) == 4
    assert columns(sheet_of(None, "a cat")) == 5


def test_a_row_uses_one_seed_in_all_its_columns(sheet_of):
    """At scale 0 every variant is the plain pipeline, so that only the seed can make a difference."""
    sheet = sheet_of("a cat", "a cat", scale=0.0)
    for row in range(2):
        assert all(same(cell(sheet, row, 1), cell(sheet, row, column)) for column in (2, 3, 4))
    assert not same(cell(sheet, 0, 1), cell(sheet, 1, 1))


def test_each_row_adds_one_to_the_seed(sheet_of, styled):
    sheet = sheet_of("a cat", "a cat")
    for row in range(2):
        [plain] = styled("a", seed=7 + row, **TINY).images
        assert same(cell(sheet, row, 1), plain.resize((TILE_SIDE, TILE_SIDE), Image.Resampling.LANCZOS))


def test_the_variants_differ(sheet_of):
    sheet = sheet_of("a cat")
    variants = [cell(sheet, 0, column) for column in range(5)]
    assert not any(same(variants[i], variants[j]) for i in range(5) for j in range(i))


def test_a_reference_of_unknown_content_keeps_its_content_beside_others(sheet_of):
    sheet = sheet_of(None, "a cat")
    assert same(cell(sheet, 0, 3), cell(sheet, 0, 4))
    assert not same(cell(sheet, 1, 3), cell(sheet, 1, 4))


def test_the_reference_is_shown_as_the_image_encoder_receives_it(sheet_of):
    shown = {crop: cell(sheet_of(None, crop=crop), 0, 0) for crop in ("center", "pad")}
    assert shown["pad"].getpixel((TILE_SIDE // 2, 0)) == (255, 255, 255), "a wide reference is padded above"
    assert shown["center"].getpixel((TILE_SIDE // 2, 0)) != (255, 255, 255)


def test_every_column_has_its_title(sheet_of):
    head = sheet_of("a cat").convert("L").crop((0, 0, GAP + 5 * (TILE_SIDE + GAP), HEADER_HEIGHT))
    for column in range(5):
        title = head.crop((GAP + column * (TILE_SIDE + GAP), 0, (column + 1) * (TILE_SIDE + GAP), HEADER_HEIGHT))
        assert title.getextrema()[0] < 128


def test_progress_is_reported_after_each_image(sheet_of):
    reports = []
    sheet_of("a cat", "a cat", on_image=lambda done, total: reports.append((done, total)))
    assert reports == [(done, 8) for done in range(1, 9)]
