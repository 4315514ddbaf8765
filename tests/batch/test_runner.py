"""Nothing is lost, nothing is drawn twice, one bad row stops no other, and memory is found to suffice."""

import os

import pytest
from PIL import Image

from instantstyle import JobError
from instantstyle.batch import BatchRow, Ledger
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.recipe import Recipe

from .conftest import pictures
from .stand_in import Painter, rows_of


def test_each_row_becomes_a_picture_that_knows_its_recipe(draw, folder):
    rows = rows_of(3)
    assert [outcome.row for outcome in draw(rows, Painter())] == rows
    assert [read_recipe(folder / row.file) for row in rows] == [row.recipe for row in rows]


def test_what_is_drawn_is_not_drawn_again(draw):
    painter = Painter()
    draw(rows_of(3), painter)
    assert draw(rows_of(3), painter) == []
    assert len(painter.calls) == 3


def test_a_picture_that_went_missing_is_drawn_again(draw, folder):
    rows = rows_of(3)
    draw(rows, Painter())
    before = pictures(folder)
    (folder / rows[1].file).unlink()
    assert [outcome.row for outcome in draw(rows, Painter())] == [rows[1]]
    assert pictures(folder) == before


def test_a_picture_that_is_there_is_counted_though_the_ledger_is_lost(draw, folder):
    draw(rows_of(3), Painter())
    (folder / "ledger.sqlite").unlink()
    assert draw(rows_of(3), Painter()) == []


def test_a_bad_row_is_kept_with_its_error_and_the_others_are_drawn(draw, folder):
    rows = [*rows_of(2), BatchRow(Recipe(prompt="impossible", seed=0), "line 9"), *rows_of(4)[2:]]
    outcomes = draw(rows, Painter(), size=5)
    [failed] = [outcome for outcome in outcomes if outcome.error]
    assert failed.told == "line 9: ValueError: this cannot be drawn"
    assert len(pictures(folder)) == 4
    with Ledger.opened(folder) as ledger:
        assert ledger.states(rows)[rows[2].key] == ("failed", "ValueError: this cannot be drawn")


def test_a_failed_row_is_left_alone_until_it_is_to_be_tried_again(draw, folder):
    rows = [BatchRow(Recipe(prompt="impossible", seed=0)), *rows_of(1)]
    draw(rows, Painter())
    assert draw(rows, Painter(bad="nothing")) == []
    assert [outcome.error for outcome in draw(rows, Painter(bad="nothing"), retry=True)] == [None]
    assert len(pictures(folder)) == 2


def test_where_memory_is_short_half_as_many_are_drawn_at_once_from_then_on(draw):
    painter, told = Painter(memory=3), []
    assert len(draw(rows_of(20), painter, size=8, tell=told.append)) == 20
    assert [len(call) for call in painter.calls] == [8, 4, *[2] * 10]
    assert told == [f"out of memory with {many} pictures at once; on with {many // 2}" for many in (8, 4)]


def test_one_picture_that_alone_is_too_much_fails_and_the_size_never_falls_below_one(draw):
    painter = Painter(memory=0)
    assert [outcome.error for outcome in draw(rows_of(3), painter, size=2)] == ["out of memory"] * 3
    assert min(len(call) for call in painter.calls) == 1


def test_several_batches_are_drawn_at_once_where_the_backend_can(draw, folder):
    rows = rows_of(9)
    assert {outcome.row.key for outcome in draw(rows, Painter(workers=3), size=2)} == {
        row.key for row in rows
    }
    assert len(pictures(folder)) == 9


def test_batches_are_taken_up_as_they_were_planned(draw, folder):
    """A picture may differ by rounding where others are drawn beside it: the others stay the same."""
    rows = rows_of(8)
    draw(rows, Painter(memory=3), size=4)
    undisturbed = pictures(folder)
    for row in rows[3:6]:
        (folder / row.file).unlink()
    draw(rows, Painter(), size=8)
    assert pictures(folder) == undisturbed


def test_a_run_goes_on_in_the_numbers_in_which_it_was_begun(draw, folder):
    """A machine that measures its own speed may measure otherwise the next time."""
    rows = rows_of(3)
    draw(rows[:1], Painter(dtype="bfloat16"))
    draw(rows, Painter(dtype="float32"))
    assert [read_recipe(folder / row.file).dtype for row in rows] == ["bfloat16"] * 3


def test_a_row_that_asks_for_its_numbers_has_them(draw, folder):
    rows = [*rows_of(1), *rows_of(2, dtype="float16")[1:]]
    draw(rows[:1], Painter(dtype="bfloat16"))
    draw(rows, Painter())
    assert [read_recipe(folder / row.file).dtype for row in rows] == ["bfloat16", "float16"]


def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(draw, folder, monkeypatch):
    save = Image.Image.save

    def full(image, file, **options):
        if len(pictures(folder)) > 2:
            raise OSError(28, "No space left on device")
        save(image, file, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(JobError, match="No space left on device"):
            draw(rows_of(5), Painter())
    assert len(pictures(folder)) == 2
    assert len(draw(rows_of(5), Painter())) == 3


def test_a_second_run_on_the_same_folder_is_refused(draw, folder):
    with Ledger.opened(folder), pytest.raises(JobError, match="drawn into by another run"):
        draw(rows_of(1), Painter())
    assert len(draw(rows_of(1), Painter())) == 1


def test_rows_of_another_manifest_stay_and_are_told(draw, folder):
    first, second = rows_of(4)[:3], rows_of(4)[2:]
    draw(first, Painter())
    assert [outcome.row for outcome in draw(second, Painter())] == second[1:]
    assert len(pictures(folder)) == 4
    with Ledger.opened(folder) as ledger:
        assert ledger.others(second) == 2


def test_a_ledger_that_is_none_is_refused_in_words(draw, folder):
    folder.mkdir()
    (folder / "ledger.sqlite").write_text("my shopping list, which is long enough to be looked into" * 9)
    with pytest.raises(
        JobError, match=r"ledger\.sqlite could not be read or written: file is not a database"
    ):
        draw(rows_of(1), Painter())


def test_pictures_hold_nothing_that_changes_from_run_to_run(draw, folder, tmp_path):
    draw(rows_of(2), Painter())
    before = pictures(folder)
    os.rename(folder, tmp_path / "before")
    draw(rows_of(2), Painter())
    assert pictures(folder) == before
