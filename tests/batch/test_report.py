"""What a log says of a batch, and what the report shows of it."""

import re
from pathlib import Path

import pytest
from PIL import Image

from instantstyle.batch import BatchRow, Ledger, Outcome, Progress, write_report
from instantstyle.batch.progress import duration
from instantstyle.recipe import Recipe

from .stand_in import Painter, rows_of


def test_the_time_left_is_told_by_what_was_drawn_in_this_run():
    seconds = iter([60.0, 70.0])
    pace = Progress(total=102, drawn=2, clock=lambda: next(seconds))
    first, second = rows_of(2)
    assert pace.count(Outcome(first)) == f"3/102 {first.file}"
    assert pace.count(Outcome(second, error="no memory")) == "4/102 failed, row 2: no memory, 16 min left"
    assert (pace.drawn, pace.failed) == (3, 1)


def test_durations_are_told_in_units_that_fit():
    assert [duration(seconds) for seconds in (3, 100, 9000)] == ["3 s", "2 min", "2.5 h"]


@pytest.fixture
def page(draw, folder) -> str:
    hostile = BatchRow(Recipe(prompt='<script>alert("x")</script>', seed=0), "line <9>")
    rows = [*rows_of(2), hostile, BatchRow(Recipe(prompt="impossible & <b>", seed=0))]
    draw(rows, Painter())
    with Ledger.opened(folder) as ledger:
        return Path(write_report(ledger.store, rows, ledger.states(rows))).read_text(encoding="utf-8")


def test_the_page_shows_what_is_drawn_and_why_the_rest_is_not(page, folder):
    assert "3 drawn, 1 failed" in page
    assert page.count("<img") == 3
    assert "ValueError: this cannot be drawn" in page
    links = re.findall(r'href="([^"]+)"', page)
    assert all((folder / link).is_file() for link in links)
    assert len(links) == 3


def test_the_page_needs_no_other_file_and_lets_nothing_through(page):
    assert "<script" not in page
    assert "<b>" not in page
    assert "line &lt;9&gt;" in page
    assert all(source.startswith("data:image/jpeg;base64,") for source in re.findall(r'src="([^"]+)"', page))


def test_the_sheet_has_each_picture(page, folder):
    with Image.open(folder / "contact.png") as sheet:
        assert sheet.width > sheet.height


def test_a_report_on_nothing_drawn_is_a_page_without_a_sheet(folder):
    with Ledger.opened(folder) as ledger:
        ledger.enter(rows_of(2), 1)
        path = write_report(ledger.store, rows_of(2), ledger.states(rows_of(2)))
    assert "2 waiting" in Path(path).read_text(encoding="utf-8")
    assert not (folder / "contact.png").exists()
