"""Progress lines of a log, and the report of a batch."""

import re
from pathlib import Path

import pytest
from PIL import Image

from instantstyle.batch import BatchRow, Ledger, Outcome, Progress, write_report
from instantstyle.batch.progress import format_duration
from instantstyle.recipe import Recipe

from .stub_backend import StubBackend, make_rows


def test_the_remaining_time_is_estimated_from_this_run():
    seconds = iter([60.0, 70.0])
    progress = Progress(total=102, generated=2, clock=lambda: next(seconds))
    first, second = make_rows(2)
    assert progress.count(Outcome(first)) == f"3/102 {first.file}"
    assert progress.count(Outcome(second, error="no memory")) == "4/102 failed, row 2: no memory, 16 min left"
    assert (progress.generated, progress.failed) == (3, 1)


def test_durations_have_a_suitable_unit():
    assert [format_duration(seconds) for seconds in (3, 100, 9000)] == ["3 s", "2 min", "2.5 h"]


@pytest.fixture
def page(generate, folder) -> str:
    hostile = BatchRow(Recipe(prompt='<script>alert("x")</script>', seed=0), "line <9>")
    rows = [*make_rows(2), hostile, BatchRow(Recipe(prompt="impossible & <b>", seed=0))]
    generate(rows, StubBackend())
    with Ledger.open(folder) as ledger:
        return Path(write_report(ledger.store, rows, ledger.states(rows))).read_text(encoding="utf-8")


def test_the_page_shows_images_and_errors(page, folder):
    assert "3 drawn, 1 failed" in page
    assert page.count("<img") == 3
    assert "ValueError: this cannot be generated" in page
    links = re.findall(r'href="([^"]+)"', page)
    assert all((folder / link).is_file() for link in links)
    assert len(links) == 3


def test_the_page_needs_no_other_file_and_escapes_text(page):
    assert "<script" not in page
    assert "<b>" not in page
    assert "line &lt;9&gt;" in page
    assert all(source.startswith("data:image/jpeg;base64,") for source in re.findall(r'src="([^"]+)"', page))


def test_the_contact_sheet_is_an_image(page, folder):
    with Image.open(folder / "contact.png") as sheet:
        assert sheet.width > sheet.height


def test_a_report_without_images_has_no_contact_sheet(folder):
    with Ledger.open(folder) as ledger:
        ledger.add_rows(make_rows(2), 1)
        path = write_report(ledger.store, make_rows(2), ledger.states(make_rows(2)))
    assert "2 waiting" in Path(path).read_text(encoding="utf-8")
    assert not (folder / "contact.png").exists()
