from PIL import Image

from instantstyle.imaging.grid import NUMBER_CELL, GAP, HEADER_HEIGHT, LABEL_WIDTH, TILE_SIDE, contact_sheet, heat_map


def test_every_picture_lies_in_its_row_and_column():
    red, blue = (Image.new("RGB", (16, 9), colour) for colour in ("red", "blue"))
    sheet = contact_sheet(["one", "two"], ["a", "b"], [[red, None], [None, blue]])
    left, top = LABEL_WIDTH + GAP + TILE_SIDE // 2, HEADER_HEIGHT + TILE_SIDE // 2
    step = TILE_SIDE + GAP
    shown = [[sheet.getpixel((left + x * step, top + y * step)) for x in range(2)] for y in range(2)]
    assert shown == [[(255, 0, 0), (255, 255, 255)], [(255, 255, 255), (0, 0, 255)]]


def test_numbers_above_zero_are_warm_and_below_cold_by_their_columns_largest():
    sheet = heat_map(["one", "two", "three"], ["a"], [[0.1], [-0.1], [0.0]])
    corner = LABEL_WIDTH + GAP + 2
    shades = [sheet.getpixel((corner, HEADER_HEIGHT + 2 + row * (NUMBER_CELL[1] + GAP))) for row in range(3)]
    warm, cold, pale = shades
    assert warm[0] > warm[2]  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]
    assert cold[0] < cold[2]  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]
    assert pale == (247, 247, 247)


def test_a_column_of_zeros_is_pale():
    heat_map(["one"], ["a"], [[0.0]])


def test_a_picture_keeps_its_proportions_and_the_side_is_as_asked():
    sheet = contact_sheet(["one"], ["a"], [[Image.new("RGB", (20, 10), "red")]], side=40)
    left, top = LABEL_WIDTH + GAP, HEADER_HEIGHT
    assert sheet.size == (left + 40 + GAP, top + 40 + GAP)
    shown = [sheet.getpixel((left + 20, top + down)) for down in (5, 20, 35)]
    assert shown == [(255, 255, 255), (255, 0, 0), (255, 255, 255)]


def test_what_does_not_fit_in_one_line_goes_on_in_a_second():
    def ink(label: str) -> int:
        head = contact_sheet([""], [label], [[None]]).crop((LABEL_WIDTH, 0, LABEL_WIDTH + GAP + TILE_SIDE, HEADER_HEIGHT))
        rows = [head.crop((0, row, head.width, row + 1)).getextrema() for row in range(HEADER_HEIGHT)]
        return sum(row != ((255, 255),) * 3 for row in rows)

    assert ink("guidance_scale number 7.5") > 1.5 * ink("scale 7.5")


def test_a_label_that_is_too_long_stays_in_its_place():
    sheet = contact_sheet(["a very long label " * 20], ["another " * 20], [[None]])
    assert sheet.crop((0, 0, 2, sheet.height)).getextrema() == ((255, 255),) * 3
