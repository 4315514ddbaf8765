"""An image counts only if it is whole and of its row; files are compared with the recipe where they are used."""

import errno
import json
import os
import re
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from instantstyle.batch import BatchRow, Ledger, create_backend, ledger_file, read_manifest
from instantstyle.batch.backends import local
from instantstyle.batch.backends.ray_worker import PackedRecipe
from instantstyle.errors import JobError
from instantstyle.imaging.png_check import HEAD_BYTES
from instantstyle.recipe import Recipe

from .conftest import generate_into, read_files
from .stub_backend import StubBackend, make_rows

DAMAGE = {
    "empty": lambda data, other: b"",
    "one byte": lambda data, other: data[:1],
    "header only": lambda data, other: data[:33],
    "cut": lambda data, other: data[:-20],
    "without end": lambda data, other: data[:-12],
    "text": lambda data, other: b"not an image " * 99,
    "of another row": lambda data, other: other,
}


def foreign_png(tmp_path) -> bytes:
    Image.new("RGB", (8, 8)).save(tmp_path / "foreign.png")
    return (tmp_path / "foreign.png").read_bytes()


@pytest.mark.parametrize("store", ["folder", "disk", "memory"])
@pytest.mark.parametrize("lost_ledger", [False, True])
def test_a_damaged_or_foreign_image_is_generated_again(folder, tmp_path, ledgers, store, lost_ledger):
    output = {"folder": str(folder), "disk": f"disk://{folder}", "memory": "memory://damaged/out"}[store]
    MemoryFileSystem.store.clear()
    rows = make_rows(len(DAMAGE) + 2)

    def files() -> dict[str, bytes]:
        if store != "memory":
            return read_files(folder)
        return {path.rpartition("/")[2]: file.getvalue() for path, file in MemoryFileSystem.store.items()}

    def write(name: str, data: bytes) -> None:
        if store == "memory":
            MemoryFileSystem().pipe_file(f"/damaged/out/{name}", data)
        else:
            (folder / name).write_bytes(data)

    generate_into(output, rows, StubBackend())
    before = files()
    for row, damage in zip(rows, DAMAGE.values(), strict=False):
        write(row.file, damage(before[row.file], before[rows[-1].file]))
    write(rows[-2].file, foreign_png(tmp_path))
    if lost_ledger:
        shutil.rmtree(ledgers, ignore_errors=True)
        (folder / "ledger.sqlite").unlink(missing_ok=True)
    assert [outcome.row for outcome in generate_into(output, rows, StubBackend())] == rows[:-1]
    assert files() == before
    MemoryFileSystem.store.clear()


def test_damage_in_the_middle_of_a_file_is_found(generate, folder):
    rows = make_rows(3)
    generate(rows, StubBackend())
    before = read_files(folder)
    data = bytearray(before[rows[1].file])
    data[data.index(b"IDAT") + 8] ^= 1
    (folder / rows[1].file).write_bytes(data)
    assert [outcome.row for outcome in generate(rows, StubBackend())] == [rows[1]]
    assert read_files(folder) == before


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, start = [], 8
    while start < len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        chunks.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + length]))
        start += length + 12
    return chunks


def make_png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Make a PNG in which every checksum is right."""
    parts = (
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


FOREIGN_PIXELS = {
    "empty": lambda kind, data, other: b"" if kind == b"IDAT" else data,
    "cut": lambda kind, data, other: data[:20] if kind == b"IDAT" else data,
    "no zlib stream": lambda kind, data, other: b"\0" * len(data) if kind == b"IDAT" else data,
    "of another row": lambda kind, data, other: other[b"IDAT"] if kind == b"IDAT" else data,
    "no size": lambda kind, data, other: bytes(8) + data[8:] if kind == b"IHDR" else data,
    "half the height": lambda kind, data, other: (
        data[:7] + bytes([data[7] // 2]) + data[8:] if kind == b"IHDR" else data
    ),
}


def make_distinct(image: Image.Image, number: int) -> bytes:
    """The pixels of another image, compressed as a PNG holds them."""
    lines = [bytes([0]) + bytes([number]) * 3 * image.width] * image.height
    return zlib.compress(b"".join(lines))


@pytest.mark.parametrize("without_hash", [False, True])
@pytest.mark.parametrize("name", FOREIGN_PIXELS)
def test_pixels_that_are_not_those_of_the_row_are_found_behind_right_checksums(generate, folder, name, without_hash):
    rows = make_rows(2)
    generate(rows, StubBackend())
    path = folder / rows[0].file
    before = path.read_bytes()
    with Image.open(path) as image:
        other = {b"IDAT": make_distinct(image.convert("RGB"), 7)}
    chunks = [(kind, FOREIGN_PIXELS[name](kind, data, other)) for kind, data in chunks_of(before)]
    if without_hash:
        chunks = [(kind, data) for kind, data in chunks if not data.startswith(b"instantstyle:pixels\0")]
    assert make_png(chunks_of(before)) == before
    path.write_bytes(make_png(chunks))
    # Files of early versions have no hash: only what cannot be decoded is found there.
    lost = [] if without_hash and name in ("of another row", "half the height") else [rows[0]]
    assert [outcome.row for outcome in generate(rows, StubBackend())] == lost
    if lost:
        assert path.read_bytes() == before


def test_an_image_with_a_recipe_beyond_the_head_counts(ledgers):
    rows = [BatchRow(Recipe(prompt="a rocket " * (HEAD_BYTES // 9), seed=1))]
    MemoryFileSystem.store.clear()
    generate_into("memory://long/out", rows, StubBackend())
    shutil.rmtree(ledgers)
    assert generate_into("memory://long/out", rows, StubBackend()) == []


def test_an_image_that_is_damaged_during_the_run_waits(folder):
    rows = make_rows(2)

    class DamagingBackend(StubBackend):
        def generate(self, recipes):
            for path in folder.glob("*.png"):
                path.write_bytes(path.read_bytes()[:-20])
            return super().generate(recipes)

    generate_into(folder, rows, DamagingBackend())
    with Ledger.open(folder) as ledger:
        assert ledger.waiting_keys(rows) == {rows[0].key}


@pytest.mark.parametrize("field", ["references", "layout_references", "mask", "image"])
def test_a_file_that_changes_after_the_manifest_was_read_fails_its_row(
    styled, reference, folder, tmp_path, monkeypatch, field
):
    monkeypatch.setattr(local, "load_for", lambda *_, **__: styled)
    for name in ("ink", "other"):
        reference.rotate(len(name) * 30).save(tmp_path / f"{name}.png")
    row = {"prompt": "a rocket", "references": "ink.png", field: "other.png", "num_inference_steps": 2}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(row))
    rows = read_manifest(tmp_path / "jobs.jsonl", {"seed": 1})
    reference.rotate(77).save(tmp_path / "other.png")
    [outcome] = generate_into(folder, rows, create_backend("local", "cpu"))
    assert "other.png was changed after its recipe was made" in str(outcome.error)
    assert read_files(folder) == {}
    with pytest.raises(JobError, match=r"other\.png was changed after its recipe was made"):
        PackedRecipe.from_recipe(rows[0].recipe)


CHANGES = {
    "state": "UPDATE rows SET state = 'bogus'",
    "rank": "UPDATE rows SET rank = 'first'",
    "huge batch": "UPDATE rows SET batch = 9223372036854775807",
    "file": "UPDATE rows SET file = X'00ff'",
    "key": "UPDATE rows SET key = NULL",
    "dtype": "UPDATE rows SET dtype = 'int3'",
    "recipe": "UPDATE rows SET recipe = 'not json'",
    "recipe of bytes": "UPDATE rows SET recipe = X'7b7d'",
    "error of bytes": "UPDATE rows SET error = X'ff'",
    "bad utf-8": "UPDATE rows SET key = CAST(X'ff' AS TEXT)",
    "other columns": "ALTER TABLE rows ADD COLUMN colour TEXT",
    "another table": "CREATE TABLE people (name TEXT)",
    "another version": "PRAGMA user_version = 99",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_damaged_or_foreign_ledger_is_one_line(generate, folder, change):
    generate(make_rows(1), StubBackend())
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as connection, connection:
        connection.execute(change)
    with pytest.raises(JobError) as caught:
        generate(make_rows(1), StubBackend())
    assert "ledger.sqlite" in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_row_of_the_ledger_whose_recipe_is_another_is_still_generated(generate, folder):
    rows = make_rows(2)
    generate(rows, StubBackend(), size=2)
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as connection, connection:
        connection.execute("UPDATE rows SET recipe = json_set(recipe, '$.seed', 99)")
    (folder / rows[0].file).unlink()
    assert [outcome.row for outcome in generate(rows, StubBackend())] == rows[:1]


@pytest.mark.parametrize(
    ("code", "text", "found"),
    [
        (sqlite3.SQLITE_BUSY, "database is locked", "in use by another run"),
        (sqlite3.SQLITE_LOCKED, "database table is locked", "in use by another run"),
        (sqlite3.SQLITE_FULL, "database or disk is full", "ledger.lock could not be written: No space left on device"),
        (sqlite3.SQLITE_IOERR, "disk I/O error", "ledger.lock could not be written: No space left on device"),
        (sqlite3.SQLITE_CANTOPEN, "unable to open", "ledger.lock could not be written: No space left on device"),
    ],
)
def test_only_a_busy_lock_means_another_run(folder, monkeypatch, code, text, found):
    class Connection:
        def execute(self, *_):
            error = sqlite3.OperationalError(text)
            error.sqlite_errorcode = code
            raise error

        def close(self):
            pass

    monkeypatch.setattr(ledger_file.sqlite3, "connect", lambda *_, **__: Connection())
    monkeypatch.setattr(ledger_file, "_find_write_fault", lambda _: "No space left on device")
    with pytest.raises(JobError, match=found), Ledger.open(folder):
        pass


DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@pytest.mark.parametrize("number", [*DISK_FAULTS, errno.EACCES])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY])
def test_a_lock_that_cannot_be_written_is_reported_as_such(folder, monkeypatch, number, code):
    class Connection:
        def execute(self, *_):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = code
            raise error

        def close(self):
            pass

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    folder.mkdir()
    monkeypatch.setattr(ledger_file.sqlite3, "connect", lambda *_, **__: Connection())
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(JobError) as caught, Ledger.open(folder):
        pass
    assert str(caught.value) == f"{folder / 'ledger.lock'} could not be written: {os.strerror(number)}."


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder in which no file can be created")
def test_a_read_only_folder_is_reported_as_such():
    reasons = "Permission denied|Read-only file system|Operation not permitted"
    with pytest.raises(JobError, match=rf"^/sys/kernel/ledger\.lock could not be written: ({reasons})\.$"):
        generate_into("/sys/kernel", make_rows(1), StubBackend())


@pytest.mark.parametrize("number", DISK_FAULTS)
def test_an_image_that_cannot_be_written_ends_the_run_and_its_rows_wait(generate, folder, monkeypatch, number):
    rows = make_rows(3)
    open_file = Path.open

    def refuse(path, mode="r", *arguments, **options):
        if mode == "xb" and rows[1].file in path.name:
            raise OSError(number, os.strerror(number))
        return open_file(path, mode, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(JobError, match=f"could not be written: {os.strerror(number)}"):
            generate(rows, StubBackend())
    with Ledger.open(folder) as ledger:
        assert [ledger.states(rows)[row.key] for row in rows] == [("drawn", None), *[("waiting", None)] * 2]


@pytest.mark.parametrize("number", DISK_FAULTS)
def test_a_full_or_read_only_disk_of_the_backend_ends_the_run_and_its_rows_wait(generate, folder, number):
    class FullBackend(StubBackend):
        def generate(self, recipes):
            raise OSError(number, os.strerror(number))

    with pytest.raises(JobError, match=os.strerror(number)):
        generate(make_rows(2), FullBackend())
    with Ledger.open(folder) as ledger:
        assert len(ledger.waiting_keys(make_rows(2))) == 2


def test_rows_that_their_index_does_not_find_are_damage(generate, folder):
    generate(make_rows(2), StubBackend())
    path, key = folder / "ledger.sqlite", make_rows(2)[1].key.encode()
    # In the table the name of the file follows; SQLite would change no row of this key, and report nothing.
    damaged, count = re.subn(key + b"(?!thing)", b"0" * len(key), path.read_bytes())
    assert count == 1
    path.write_bytes(damaged)
    with pytest.raises(JobError, match=r"ledger\.sqlite is damaged: .*move it away"):
        generate(make_rows(2), StubBackend())


@pytest.mark.parametrize("name", ["ledger.sqlite", "ledger.lock"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_ledger_that_is_no_file_says_what_to_do(generate, folder, name, make):
    folder.mkdir(exist_ok=True)
    make(folder / name)
    with pytest.raises(JobError, match=rf"{name} is not a regular file; move it away, or choose another output"):
        generate(make_rows(1), StubBackend())


def test_a_table_of_a_ledger_with_other_columns_is_damage(generate, folder):
    generate(make_rows(1), StubBackend())
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as connection, connection:
        connection.execute("ALTER TABLE rows RENAME COLUMN rank TO rbnk")
    with pytest.raises(JobError, match=r"is damaged: its table rows has other columns; move it away"):
        generate(make_rows(1), StubBackend())


def test_a_broken_constraint_says_what_to_do(tmp_path):
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.execute("CREATE TABLE rows (key TEXT PRIMARY KEY)")
        connection.execute("INSERT INTO rows VALUES ('a')")
        with pytest.raises(sqlite3.IntegrityError) as caught:
            connection.execute("INSERT INTO rows VALUES ('a')")
    message = str(ledger_file.describe_error(caught.value, tmp_path / "ledger.sqlite"))
    assert "move it away: images that are complete count without it" in message


def test_the_name_of_a_folder_that_cannot_be_created_is_cut(tmp_path):
    with pytest.raises(JobError, match="choose another output") as caught:
        generate_into(str(tmp_path / ("x" * 300)), make_rows(1), StubBackend())
    assert len(str(caught.value)) < 300
