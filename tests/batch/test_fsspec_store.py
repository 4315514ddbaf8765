"""A store behind a URL keeps what a folder keeps; its ledger is on this machine."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from instantstyle import JobError
from instantstyle.batch import Ledger, write_report
from instantstyle.errors import MissingExtra

from .conftest import draw_into, pictures
from .disk import Disk
from .stand_in import Painter, rows_of

URL = "memory://drawn/today"


@pytest.fixture(autouse=True)
def held() -> Iterator[dict[str, bytes]]:
    """What is in memory, as it is whenever it is asked for."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield MemoryFileSystem.store
    MemoryFileSystem.store.clear()


@pytest.fixture
def draw() -> Callable:
    return partial(draw_into, URL)


def kept() -> dict[str, bytes]:
    """All that is there, by name."""
    return {path.rpartition("/")[2]: file.getvalue() for path, file in MemoryFileSystem.store.items()}


def test_a_store_holds_the_pictures_of_a_folder_and_nothing_else(draw, folder):
    rows = rows_of(3)
    assert [outcome.row for outcome in draw(rows, Painter())] == rows
    draw_into(folder, rows, Painter())
    assert kept() == pictures(folder)


def test_the_ledger_is_on_this_machine_and_says_whose_it_is(draw, ledgers):
    draw(rows_of(1), Painter())
    [home] = ledgers.iterdir()
    assert {"ledger.sqlite", "ledger.lock", "url.txt"} <= {path.name for path in home.iterdir()}
    assert (home / "url.txt").read_text() == f"{URL}\n"


def test_what_went_missing_is_drawn_again_and_nothing_else(draw, held):
    rows = rows_of(3)
    draw(rows, Painter())
    before = kept()
    del held[f"/drawn/today/{rows[1].file}"]
    assert [outcome.row for outcome in draw(rows, Painter())] == [rows[1]]
    assert kept() == before


def test_what_is_there_is_counted_though_the_ledger_is_elsewhere(draw, ledgers):
    draw(rows_of(3), Painter(dtype="bfloat16"))
    ledgers.rename(ledgers.with_name("of another machine"))
    assert draw(rows_of(3), Painter()) == []
    with Ledger.open(URL) as ledger:
        assert ledger.dtypes() == {"mini": "bfloat16"}


def test_one_listing_tells_what_is_there_however_many_rows(draw, monkeypatch):
    draw(rows_of(40), Painter())
    asked, listing = [], MemoryFileSystem.ls

    def ls(*given, **more):
        asked.append(given)
        return listing(*given, **more)

    with Ledger.open(URL) as ledger:
        monkeypatch.setattr(MemoryFileSystem, "ls", ls)
        for name in ("info", "exists", "isfile", "cat_file"):
            monkeypatch.setattr(MemoryFileSystem, name, lambda *_: pytest.fail("asked of a single picture"))
        ledger.add_rows(rows_of(40), 1)
        assert ledger.waiting_keys(rows_of(40)) == set()
    assert len(asked) == 1


def test_a_second_run_on_the_same_store_is_refused_and_one_on_another_is_not(draw):
    with Ledger.open(f"{URL}/"):
        with pytest.raises(JobError, match="memory://drawn/today is drawn into by another run"):
            draw(rows_of(1), Painter())
        assert len(draw_into("memory://drawn/elsewhere", rows_of(1), Painter())) == 1


def test_a_store_that_refuses_is_told_before_anything_is_drawn(draw, monkeypatch):
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", _refusing_after(0))
    painter = Painter()
    with pytest.raises(
        JobError, match=r"^memory://drawn/today cannot be written to \(PermissionError: no\)\.$"
    ):
        draw(rows_of(1), painter)
    assert painter.calls == []


def test_a_store_that_vanishes_ends_the_run_and_the_next_one_goes_on(draw, folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "pipe_file", _refusing_after(5))
        with pytest.raises(JobError, match=r"^memory://drawn/today/thing-5-5-.*\.png could not be written"):
            draw(rows_of(10), Painter(memory=3), 4)
    assert len(kept()) == 4
    assert len(draw(rows_of(10), Painter(memory=3), 4)) == 6
    draw_into(folder, rows_of(10), Painter(memory=3), 4)
    assert kept() == pictures(folder)


def test_who_may_not_delete_may_draw(draw, monkeypatch):
    monkeypatch.setattr(MemoryFileSystem, "rm_file", _refusing_after(0))
    assert len(draw(rows_of(1), Painter())) == 1


def test_file_is_a_folder_like_any_other(folder):
    draw_into(f"file://{folder}", rows_of(2), Painter())
    assert (folder / "ledger.sqlite").is_file()
    with Ledger.open(folder), pytest.raises(JobError, match="drawn into by another run"):
        draw_into(f"file://{folder}", rows_of(2), Painter())


def test_on_a_file_system_a_picture_has_its_name_only_when_it_is_whole(folder, monkeypatch):
    moved = []
    move = Disk.mv

    def witness(self, draft, path):
        moved.append((len(self.cat_file(draft)), self.exists(path)))
        move(self, draft, path)

    monkeypatch.setattr(Disk, "mv", witness)
    draw_into(f"disk://{folder}", rows_of(2), Painter())
    assert [there for _, there in moved] == [False] * 3
    assert [size for size, _ in moved[1:]] == [len(data) for data in pictures(folder).values()]


def test_drafts_of_a_killed_run_are_cleared_and_what_is_a_persons_stays(folder):
    folder.mkdir()
    (folder / f".thing.png.{'0' * 32}.part").write_bytes(b"half")
    (folder / ".mine.part").write_bytes(b"mine")
    draw_into(f"disk://{folder}", rows_of(1), Painter())
    assert pictures(folder).keys() == {".mine.part", rows_of(1)[0].file}


def test_where_nothing_moves_onto_what_is_there_the_report_is_written_anew(folder, monkeypatch):
    move = Disk.mv

    def careful(self, draft, path):
        if self.exists(path):
            raise FileExistsError(path)
        move(self, draft, path)

    monkeypatch.setattr(Disk, "mv", careful)
    for count in (1, 2):
        draw_into(f"disk://{folder}", rows_of(count), Painter())
        _report(f"disk://{folder}", count)
    assert "2 drawn" in (folder / "index.html").read_text(encoding="utf-8")


def test_the_report_is_in_the_store_and_reads_each_picture_once(draw, monkeypatch):
    draw(rows_of(3), Painter())
    read = []
    fetch = MemoryFileSystem.cat_file
    monkeypatch.setattr(
        MemoryFileSystem, "cat_file", lambda self, path: read.append(path) or fetch(self, path)
    )
    assert _report(URL, 3) == f"{URL}/index.html"
    assert len(read) == 3
    assert kept()["index.html"].decode().count("<img") == 3
    assert "<title>today: 3 drawn</title>" in kept()["index.html"].decode()
    with Image.open(BytesIO(kept()["contact.png"])) as sheet:
        assert sheet.width > sheet.height


def test_a_picture_that_cannot_be_read_back_is_told_by_its_address(draw, held):
    [row] = rows_of(1)
    draw([row], Painter())
    held[f"/drawn/today/{row.file}"] = BytesIO(b"no picture")
    with pytest.raises(Exception, match=rf"^{URL}/{row.file} is not a picture we can read"):
        _report(URL, 1)


@pytest.mark.parametrize(
    ("url", "package"),
    [("s3://pictures/drawn", "s3fs"), ("gs://pictures", "gcsfs"), ("sftp://host/drawn", "paramiko")],
)
def test_a_missing_package_is_named_with_its_install_line(url, package, ledgers, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    protocol = url.partition(":")[0]
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
    with pytest.raises(MissingExtra, match=rf"^{protocol}:// needs {package}, .*: pip install {package}$"):
        draw_into(url, rows_of(1), Painter())
    assert not ledgers.exists()


def test_an_unknown_protocol_names_the_nearest():
    with pytest.raises(JobError, match=r"^memroy:// is no store that fsspec knows.* Did you mean memory\?$"):
        draw_into("memroy://drawn", rows_of(1), Painter())


def test_a_fault_tells_no_password(monkeypatch):
    def offended(*_, **options):
        raise ValueError(f"cannot connect with {options}")

    monkeypatch.setattr(MemoryFileSystem, "__init__", offended)
    monkeypatch.setattr(
        MemoryFileSystem, "_get_kwargs_from_urls", staticmethod(lambda _: {"password": "secret"})
    )
    monkeypatch.setattr(MemoryFileSystem, "cachable", False)
    with pytest.raises(
        JobError, match=r"^memory://me@host/x cannot be opened \(ValueError: cannot"
    ) as refused:
        draw_into("memory://me:secret@host/x", rows_of(1), Painter())
    assert "secret" not in str(refused.value)


def test_the_command_draws_into_a_store(run, model, tmp_path):
    (tmp_path / "jobs.csv").write_text("prompt\na rocket\n")
    words = ("batch", "jobs.csv", "--model", model, "--steps", 2, "--height", 16, "--width", 16, "--report")
    done = run(*words, "--out", URL)
    assert (done.code, done.out) == (0, f"{URL}/index.html\n")
    assert f"1 of 1 images are in {URL}, 0 failed" in done.err
    again = run(*words, "--out", URL)
    assert "1 of 1 exist already" in again.err
    refused = run(*words, "--out", "memroy://me:secret@host/x")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "secret" not in refused.err


def _report(output: str, count: int) -> str:
    rows = rows_of(count)
    with Ledger.open(output) as ledger:
        return write_report(ledger.store, rows, ledger.states(rows))


def _refusing_after(count: int) -> Callable:
    """The store's own, until so many have been put."""
    put, calls = MemoryFileSystem.pipe_file, []

    def refusing(self, path, *given, **more):
        calls.append(path)
        if len(calls) > count:
            raise PermissionError("no")
        put(self, path, *given, **more)

    return refusing
