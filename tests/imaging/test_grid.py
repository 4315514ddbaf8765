from PIL import Image, ImageFont

from instantstyle.imaging.grid import (
    CARD_WIDTH,
    GAP,
    HEADER_HEIGHT,
    LABEL_WIDTH,
    NUMBER_CELL,
    TILE_SIDE,
    GridLayout,
    contact_sheet,
    cut_text,
    heat_map,
    text_card,
)

WHITE = (255, 255, 255)


def test_every_image_is_in_its_row_and_column():
    red, blue = (Image.new("RGB", (16, 9), colour) for colour in ("red", "blue"))
    sheet = contact_sheet(["one", "two"], ["a", "b"], [[red, None], [None, blue]])
    left, top = LABEL_WIDTH + GAP + TILE_SIDE // 2, HEADER_HEIGHT + TILE_SIDE // 2
    step = TILE_SIDE + GAP
    shown = [[sheet.getpixel((left + x * step, top + y * step)) for x in range(2)] for y in range(2)]
    assert shown == [[(255, 0, 0), WHITE], [WHITE, (0, 0, 255)]]


def test_numbers_are_warm_above_zero_and_cold_below():
    sheet = heat_map(["one", "two", "three"], ["a"], [[0.1], [-0.1], [0.0]])
    corner = LABEL_WIDTH + GAP + 2
    shades = [sheet.getpixel((corner, HEADER_HEIGHT + 2 + row * (NUMBER_CELL[1] + GAP))) for row in range(3)]
    warm, cold, pale = shades
    assert warm[0] > warm[2]  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]
    assert cold[0] < cold[2]  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]
    assert pale == (247, 247, 247)


def test_a_column_of_zeros_is_pale():
    sheet = heat_map(["one"], ["a"], [[0.0]])
    assert sheet.getpixel((LABEL_WIDTH + GAP + 2, HEADER_HEIGHT + 2)) == (247, 247, 247)


def test_an_image_keeps_its_proportions_and_has_the_requested_side():
    sheet = contact_sheet(["one"], ["a"], [[Image.new("RGB", (20, 10), "red")]], side=40)
    left, top = LABEL_WIDTH + GAP, HEADER_HEIGHT
    assert sheet.size == (left + 40 + GAP, top + 40 + GAP)
    shown = [sheet.getpixel((left + 20, top + down)) for down in (5, 20, 35)]
    assert shown == [WHITE, (255, 0, 0), WHITE]


def test_a_layout_sets_gap_and_margins():
    layout = GridLayout(gap=5, label_width=0, header_height=30)
    sheet = contact_sheet([""], ["a", "b"], [[Image.new("RGB", (20, 20), "red")] * 2], 20, layout)
    assert sheet.size == (5 + 2 * 25, 30 + 25)
    row = [sheet.getpixel((x, 40)) for x in (4, 5, 24, 25, 29, 30, 49, 50)]
    assert [pixel == (255, 0, 0) for pixel in row] == [False, True, True, False, False, True, True, False]


def test_a_long_label_is_wrapped_to_a_second_line():
    def inked_rows(label: str) -> int:
        header = contact_sheet([""], [label], [[None]]).crop(
            (LABEL_WIDTH, 0, LABEL_WIDTH + GAP + TILE_SIDE, HEADER_HEIGHT)
        )
        rows = [header.crop((0, row, header.width, row + 1)).getextrema() for row in range(HEADER_HEIGHT)]
        return sum(row != ((255, 255),) * 3 for row in rows)

    assert inked_rows("guidance_scale number 7.5") > 1.5 * inked_rows("scale 7.5")


def test_a_label_that_is_too_long_is_cut():
    sheet = contact_sheet(["a very long label " * 20], ["another " * 20], [[None]])
    assert sheet.crop((0, 0, 2, sheet.height)).getextrema() == ((255, 255),) * 3


def test_text_is_cut_to_the_width_with_an_ellipsis():
    font = ImageFont.load_default(12)
    cut = cut_text("a rocket " * 20, 100, font)
    assert cut.endswith("…")
    assert ("a rocket " * 20).startswith(cut[:-1])
    assert 85 < font.getlength(cut) <= 100
    assert cut_text("a rocket", 100, font) == "a rocket"
    assert cut_text("a rocket", 1, font) == ""


def test_a_card_shows_thumbnail_and_lines_within_its_width():
    card = text_card(["name: ink", "notes: " + "word " * 100], Image.new("RGB", (30, 20), "red"), 60)
    assert card.size == (CARD_WIDTH, 60 + 2 * 16)
    assert card.getpixel((16, 16)) == (255, 0, 0)
    assert card.crop((92, 16, CARD_WIDTH, 60)).convert("L").getextrema()[0] < 128  # pyright: ignore
    assert card.crop((CARD_WIDTH - 16, 0, CARD_WIDTH, card.height)).getextrema() == ((255, 255),) * 3
