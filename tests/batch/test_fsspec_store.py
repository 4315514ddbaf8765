"""A store behind a URL holds the same files as a folder; its ledger is on this machine."""

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

from .conftest import generate_into, read_files
from .disk import Disk
from .stub_backend import StubBackend, make_rows

URL = "memory://images/today"


@pytest.fixture(autouse=True)
def memory() -> Iterator[dict[str, bytes]]:
    """The content of the memory file system, emptied for the test."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield MemoryFileSystem.store
    MemoryFileSystem.store.clear()


@pytest.fixture
def generate() -> Callable:
    return partial(generate_into, URL)


def stored_files() -> dict[str, bytes]:
    """The files of the memory file system by name."""
    return {path.rpartition("/")[2]: file.getvalue() for path, file in MemoryFileSystem.store.items()}


def test_a_store_holds_the_images_of_a_folder_and_nothing_else(generate, folder):
    rows = make_rows(3)
    assert [outcome.row for outcome in generate(rows, StubBackend())] == rows
    generate_into(folder, rows, StubBackend())
    assert stored_files() == read_files(folder)


def test_the_ledger_is_on_this_machine_with_the_url_of_its_store(generate, ledgers):
    generate(make_rows(1), StubBackend())
    [ledger_folder] = ledgers.iterdir()
    assert {"ledger.sqlite", "ledger.lock", "url.txt"} <= {path.name for path in ledger_folder.iterdir()}
    assert (ledger_folder / "url.txt").read_text() == f"{URL}\n"


def test_a_missing_image_is_generated_again_and_nothing_else(generate, memory):
    rows = make_rows(3)
    generate(rows, StubBackend())
    before = stored_files()
    del memory[f"/images/today/{rows[1].file}"]
    assert [outcome.row for outcome in generate(rows, StubBackend())] == [rows[1]]
    assert stored_files() == before


def test_existing_images_count_when_the_ledger_is_on_another_machine(generate, ledgers):
    generate(make_rows(3), StubBackend(dtype="bfloat16"))
    ledgers.rename(ledgers.with_name("of another machine"))
    assert generate(make_rows(3), StubBackend()) == []
    with Ledger.open(URL) as ledger:
        assert ledger.dtypes() == {"mini": "bfloat16"}


def test_one_listing_finds_all_existing_images(generate, monkeypatch):
    generate(make_rows(40), StubBackend())
    calls, original = [], MemoryFileSystem.ls

    def ls(*args, **kwargs):
        calls.append(args)
        return original(*args, **kwargs)

    with Ledger.open(URL) as ledger:
        monkeypatch.setattr(MemoryFileSystem, "ls", ls)
        for name in ("info", "exists", "isfile", "cat_file"):
            monkeypatch.setattr(MemoryFileSystem, name, lambda *_: pytest.fail("a request for one image"))
        ledger.add_rows(make_rows(40), 1)
        assert ledger.waiting_keys(make_rows(40)) == set()
    assert len(calls) == 1


def test_a_second_run_on_the_same_store_is_refused_and_one_on_another_is_not(generate):
    with Ledger.open(f"{URL}/"):
        with pytest.raises(JobError, match="memory://images/today is in use by another run"):
            generate(make_rows(1), StubBackend())
        assert len(generate_into("memory://images/elsewhere", make_rows(1), StubBackend())) == 1


def test_a_store_without_write_permission_is_refused_before_generation(generate, monkeypatch):
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", _refuse_after(0))
    backend = StubBackend()
    with pytest.raises(JobError, match=r"^memory://images/today cannot be written to \(PermissionError: no\)\.$"):
        generate(make_rows(1), backend)
    assert backend.calls == []


def test_a_store_that_fails_ends_the_run_and_the_next_run_continues(generate, folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "pipe_file", _refuse_after(5))
        with pytest.raises(JobError, match=r"^memory://images/today/thing-5-5-.*\.png could not be written"):
            generate(make_rows(10), StubBackend(memory=3), 4)
    assert len(stored_files()) == 4
    assert len(generate(make_rows(10), StubBackend(memory=3), 4)) == 6
    generate_into(folder, make_rows(10), StubBackend(memory=3), 4)
    assert stored_files() == read_files(folder)


def test_permission_to_delete_is_not_needed(generate, monkeypatch):
    monkeypatch.setattr(MemoryFileSystem, "rm_file", _refuse_after(0))
    assert len(generate(make_rows(1), StubBackend())) == 1


def test_a_file_url_is_a_local_folder(folder):
    generate_into(f"file://{folder}", make_rows(2), StubBackend())
    assert (folder / "ledger.sqlite").is_file()
    with Ledger.open(folder), pytest.raises(JobError, match="in use by another run"):
        generate_into(f"file://{folder}", make_rows(2), StubBackend())


def test_on_a_file_system_an_image_gets_its_name_only_when_complete(folder, monkeypatch):
    moved = []
    move = Disk.mv

    def record(self, draft, path):
        moved.append((len(self.cat_file(draft)), self.exists(path)))
        move(self, draft, path)

    monkeypatch.setattr(Disk, "mv", record)
    generate_into(f"disk://{folder}", make_rows(2), StubBackend())
    assert [there for _, there in moved] == [False] * 3
    assert [size for size, _ in moved[1:]] == [len(data) for data in read_files(folder).values()]


def test_drafts_of_a_killed_run_are_removed_and_other_files_stay(folder):
    folder.mkdir()
    (folder / f".thing.png.{'0' * 32}.part").write_bytes(b"half")
    (folder / ".mine.part").write_bytes(b"mine")
    generate_into(f"disk://{folder}", make_rows(1), StubBackend())
    assert read_files(folder).keys() == {".mine.part", make_rows(1)[0].file}


def test_the_report_is_replaced_where_a_move_cannot_overwrite(folder, monkeypatch):
    move = Disk.mv

    def refuse_existing(self, draft, path):
        if self.exists(path):
            raise FileExistsError(path)
        move(self, draft, path)

    monkeypatch.setattr(Disk, "mv", refuse_existing)
    for count in (1, 2):
        generate_into(f"disk://{folder}", make_rows(count), StubBackend())
        _report(f"disk://{folder}", count)
    assert "2 drawn" in (folder / "index.html").read_text(encoding="utf-8")


def test_the_report_is_in_the_store_and_reads_each_image_once(generate, monkeypatch):
    generate(make_rows(3), StubBackend())
    read = []
    fetch = MemoryFileSystem.cat_file
    monkeypatch.setattr(MemoryFileSystem, "cat_file", lambda self, path: read.append(path) or fetch(self, path))
    assert _report(URL, 3) == f"{URL}/index.html"
    assert len(read) == 3
    assert stored_files()["index.html"].decode().count("<img") == 3
    assert "<title>today: 3 drawn</title>" in stored_files()["index.html"].decode()
    with Image.open(BytesIO(stored_files()["contact.png"])) as sheet:
        assert sheet.width > sheet.height


def test_an_unreadable_image_is_reported_with_its_url(generate, memory):
    [row] = make_rows(1)
    generate([row], StubBackend())
    memory[f"/images/today/{row.file}"] = BytesIO(b"not an image")
    with pytest.raises(Exception, match=rf"^{URL}/{row.file} is not an image in a supported format"):
        _report(URL, 1)


@pytest.mark.parametrize(
    ("url", "package"),
    [("s3://bucket/folder", "s3fs"), ("gs://bucket", "gcsfs"), ("sftp://host/folder", "paramiko")],
)
def test_a_missing_package_is_named_with_its_install_command(url, package, ledgers, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    protocol = url.partition(":")[0]
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
    with pytest.raises(MissingExtra, match=rf"^{protocol}:// needs {package}, .*: pip install {package}\.$"):
        generate_into(url, make_rows(1), StubBackend())
    assert not ledgers.exists()


def test_an_unknown_protocol_suggests_the_nearest():
    with pytest.raises(JobError, match=r"^memroy:// is not a protocol .* Did you mean memory\?$"):
        generate_into("memroy://images", make_rows(1), StubBackend())


def test_an_error_shows_no_password(monkeypatch):
    def refuse(*_, **options):
        raise ValueError(f"cannot connect with {options}")

    monkeypatch.setattr(MemoryFileSystem, "__init__", refuse)
    monkeypatch.setattr(MemoryFileSystem, "_get_kwargs_from_urls", staticmethod(lambda _: {"password": "secret"}))
    monkeypatch.setattr(MemoryFileSystem, "cachable", False)
    with pytest.raises(JobError, match=r"^memory://me@host/x cannot be opened \(ValueError: cannot") as caught:
        generate_into("memory://me:secret@host/x", make_rows(1), StubBackend())
    assert "secret" not in str(caught.value)


def test_the_command_generates_into_a_store(run, model, tmp_path):
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
    rows = make_rows(count)
    with Ledger.open(output) as ledger:
        return write_report(ledger.store, rows, ledger.states(rows))


def _refuse_after(count: int) -> Callable:
    """Return a `pipe_file` that raises after `count` calls."""
    put, calls = MemoryFileSystem.pipe_file, []

    def pipe_file(self, path, *args, **kwargs):
        calls.append(path)
        if len(calls) > count:
            raise PermissionError("no")
        put(self, path, *args, **kwargs)

    return pipe_file
