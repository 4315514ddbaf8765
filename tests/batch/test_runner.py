"""The runner loses nothing, generates nothing twice, isolates failing rows and adapts to the memory."""

import os
import sqlite3
from contextlib import closing

import pytest
from PIL import Image

from instantstyle import JobError
from instantstyle.batch import BatchRow, Ledger
from instantstyle.imaging.png_metadata import read_recipe, save_png
from instantstyle.recipe import Recipe

from .conftest import read_files
from .stub_backend import StubBackend, make_rows


def test_each_row_becomes_an_image_with_its_recipe(generate, folder):
    rows = make_rows(3)
    assert [outcome.row for outcome in generate(rows, StubBackend())] == rows
    assert [read_recipe(folder / row.file) for row in rows] == [row.recipe for row in rows]


def test_an_existing_image_is_not_generated_again(generate):
    backend = StubBackend()
    generate(make_rows(3), backend)
    assert generate(make_rows(3), backend) == []
    assert len(backend.calls) == 3


def test_a_missing_image_is_generated_again(generate, folder):
    rows = make_rows(3)
    generate(rows, StubBackend())
    before = read_files(folder)
    (folder / rows[1].file).unlink()
    assert [outcome.row for outcome in generate(rows, StubBackend())] == [rows[1]]
    assert read_files(folder) == before


def test_existing_images_count_when_the_ledger_is_lost(generate, folder):
    generate(make_rows(3), StubBackend())
    (folder / "ledger.sqlite").unlink()
    assert generate(make_rows(3), StubBackend()) == []


def test_a_failing_row_keeps_its_error_and_the_others_are_generated(generate, folder):
    rows = [*make_rows(2), BatchRow(Recipe(prompt="impossible", seed=0), "line 9"), *make_rows(4)[2:]]
    outcomes = generate(rows, StubBackend(), size=5)
    [failed] = [outcome for outcome in outcomes if outcome.error]
    assert failed.message == "line 9: ValueError: this cannot be generated"
    assert len(read_files(folder)) == 4
    with Ledger.open(folder) as ledger:
        assert ledger.states(rows)[rows[2].key] == ("failed", "ValueError: this cannot be generated")


def test_a_failed_row_is_repeated_only_on_request(generate, folder):
    rows = [BatchRow(Recipe(prompt="impossible", seed=0)), *make_rows(1)]
    generate(rows, StubBackend())
    assert generate(rows, StubBackend(bad="nothing")) == []
    assert [outcome.error for outcome in generate(rows, StubBackend(bad="nothing"), retry=True)] == [None]
    assert len(read_files(folder)) == 2


def test_out_of_memory_halves_this_and_all_later_batches(generate):
    backend, messages = StubBackend(memory=3), []
    assert len(generate(make_rows(20), backend, size=8, on_message=messages.append)) == 20
    assert [len(call) for call in backend.calls] == [8, 4, *[2] * 10]
    assert messages == [f"out of memory with {size} images at once; continuing with {size // 2}" for size in (8, 4)]


def test_an_image_that_does_not_fit_alone_fails(generate):
    backend = StubBackend(memory=0)
    assert [outcome.error for outcome in generate(make_rows(3), backend, size=2)] == ["out of memory"] * 3
    assert min(len(call) for call in backend.calls) == 1


def test_several_workers_generate_batches_in_parallel(generate, folder):
    rows = make_rows(9)
    assert {outcome.row.key for outcome in generate(rows, StubBackend(workers=3), size=2)} == {row.key for row in rows}
    assert len(read_files(folder)) == 9


def test_a_resumed_run_repeats_the_planned_batches(generate, folder):
    """An image depends by rounding on the others of its call, so the calls stay the same."""
    rows = make_rows(8)
    generate(rows, StubBackend(memory=3), size=4)
    uninterrupted = read_files(folder)
    for row in rows[3:6]:
        (folder / row.file).unlink()
    generate(rows, StubBackend(), size=8)
    assert read_files(folder) == uninterrupted


def test_a_resumed_run_keeps_the_dtype(generate, folder):
    """The default dtype may depend on a measurement, whose result may differ the next time."""
    rows = make_rows(3)
    generate(rows[:1], StubBackend(dtype="bfloat16"))
    generate(rows, StubBackend(dtype="float32"))
    assert [read_recipe(folder / row.file).dtype for row in rows] == ["bfloat16"] * 3


def test_a_row_that_names_a_dtype_gets_it(generate, folder):
    rows = [*make_rows(1), *make_rows(2, dtype="float16")[1:]]
    generate(rows[:1], StubBackend(dtype="bfloat16"))
    generate(rows, StubBackend())
    assert [read_recipe(folder / row.file).dtype for row in rows] == ["bfloat16", "float16"]


def test_a_full_disk_ends_the_run_and_the_next_run_continues(generate, folder, monkeypatch):
    save = Image.Image.save

    def full(image, file, **options):
        if len(read_files(folder)) > 2:
            raise OSError(28, "No space left on device")
        save(image, file, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(JobError, match="No space left on device"):
            generate(make_rows(5), StubBackend())
    assert len(read_files(folder)) == 2
    assert len(generate(make_rows(5), StubBackend())) == 3


def test_a_second_run_on_the_same_folder_is_refused(generate, folder):
    with Ledger.open(folder), pytest.raises(JobError, match="in use by another run"):
        generate(make_rows(1), StubBackend())
    assert len(generate(make_rows(1), StubBackend())) == 1


def test_rows_of_another_manifest_stay_and_are_counted(generate, folder):
    first, second = make_rows(4)[:3], make_rows(4)[2:]
    generate(first, StubBackend())
    assert [outcome.row for outcome in generate(second, StubBackend())] == second[1:]
    assert len(read_files(folder)) == 4
    with Ledger.open(folder) as ledger:
        assert ledger.count_other_rows(second) == 2


LEDGER_0_1 = """
PRAGMA user_version = 1;
CREATE TABLE rows (key TEXT PRIMARY KEY, file TEXT NOT NULL, recipe TEXT NOT NULL, rank INTEGER NOT NULL,
    batch INTEGER NOT NULL, state TEXT NOT NULL, error TEXT, dtype TEXT);
INSERT INTO rows VALUES
    ('cd3ea79e5ad91b859fe3806b7b1c677e4c0f2534736547b74d3c1ecff26ded09', 'thing-1-1-cd3ea79e5a.png',
     '{"version":1,"prompt":"thing 1","seed":1,"model":"mini"}', 1, 1, 'drawn', NULL, 'bfloat16'),
    ('aca3689bd9a74cb5008e3cbfa24eba5dbbaa8dc393daeafa33e3fe9e3a8ef081', 'thing-2-2-aca3689bd9.png',
     '{"version":1,"prompt":"thing 2","seed":2,"model":"mini"}', 2, 1, 'waiting', NULL, NULL),
    ('8dde7ab08fee3123ce6fb87bd86846bb809e10ad840b48dd849eea119a909012', 'thing-3-3-8dde7ab08f.png',
     '{"version":1,"prompt":"thing 3","seed":3,"model":"mini"}', 3, 2, 'failed', 'no memory', NULL);
"""
"""Rows 1 to 3 of `make_rows` as version 0.1.0 writes them."""


def test_a_ledger_of_version_0_1_is_resumed(generate, folder):
    rows, backend = make_rows(3), StubBackend()
    folder.mkdir()
    save_png(Image.new("RGB", (8, 8)), folder / rows[0].file, rows[0].recipe.replace(dtype="bfloat16"))
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as connection:
        connection.executescript(LEDGER_0_1)
    assert [outcome.row for outcome in generate(rows, backend)] == [rows[1]]
    assert backend.calls == [["thing 1", "thing 2"]]
    assert read_recipe(folder / rows[1].file).dtype == "bfloat16"
    with Ledger.open(folder) as ledger:
        assert ledger.count_other_rows(rows) == 0
        assert ledger.states(rows)[rows[2].key] == ("failed", "no memory")


def test_a_file_that_is_not_a_ledger_is_refused(generate, folder):
    folder.mkdir()
    (folder / "ledger.sqlite").write_text("some text that is long enough to be read as a header " * 9)
    with pytest.raises(JobError, match=r"ledger\.sqlite could not be read or written: file is not a database"):
        generate(make_rows(1), StubBackend())


def test_images_are_identical_from_run_to_run(generate, folder, tmp_path):
    generate(make_rows(2), StubBackend())
    before = read_files(folder)
    os.rename(folder, tmp_path / "before")
    generate(make_rows(2), StubBackend())
    assert read_files(folder) == before
