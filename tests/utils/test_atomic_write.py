"""Atomic writing: files are complete or absent, and existing ones are kept unless `force` is given."""

import os
from pathlib import Path

import pytest

from instantstyle import JobError
from instantstyle.utils.atomic_write import atomic_write, check_writable, make_draft_name, remove_drafts


def test_a_file_appears_complete_and_without_its_draft(tmp_path):
    with atomic_write(tmp_path / "a.txt") as draft:
        draft.write_text("complete")
        assert os.listdir(tmp_path) == [draft.name]
    assert os.listdir(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "complete"


def write_and_fail(path):
    with atomic_write(path, force=True) as draft:
        draft.write_text("incomplete")
        raise ValueError("interrupted")


def test_an_exception_leaves_the_old_file_and_no_draft(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ValueError, match="interrupted"):
        write_and_fail(tmp_path / "a.txt")
    assert os.listdir(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (ValueError("interrupted"), ValueError, "interrupted"),
        (OSError(28, "No space left on device"), JobError, "could not be written: No space left on device"),
        (KeyboardInterrupt("stopped"), KeyboardInterrupt, "stopped"),
    ],
)
def test_a_draft_that_cannot_be_deleted_does_not_hide_the_error(tmp_path, monkeypatch, error, raised, message):
    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    def write():
        with atomic_write(tmp_path / "a.txt"):
            monkeypatch.setattr(Path, "unlink", fail)
            raise error

    with pytest.raises(raised, match=message):
        write()


def test_a_file_is_complete_also_if_its_draft_cannot_be_deleted(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, atomic_write(tmp_path / "a.txt") as draft:
        draft.write_text("complete")
        patch.setattr(Path, "unlink", fail)
    assert (tmp_path / "a.txt").read_text() == "complete"
    remove_drafts(tmp_path)
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_file_that_another_process_creates_meanwhile_is_not_overwritten(tmp_path, monkeypatch, hard_links):
    def fail(source, destination):
        raise OSError("no hard links")

    if not hard_links:
        monkeypatch.setattr(os, "link", fail)

    def write_both():
        with atomic_write(tmp_path / "a.txt") as draft:
            draft.write_text("ours")
            (tmp_path / "a.txt").write_text("theirs")

    with pytest.raises(JobError, match=r"exists already.*--force"):
        write_both()
    assert os.listdir(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "theirs"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "is a folder"),
        ("file", "exists already"),
        ("file/file", "file is not a folder"),
        ("x" * 256, "more than 255 bytes"),
        ("x" * 256 + "/file", "more than 255 bytes"),
    ],
)
def test_a_path_that_cannot_be_written_is_rejected_before_the_work(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match=message):
        check_writable(tmp_path / name)


def test_drafts_of_killed_processes_are_removed_and_other_files_kept(tmp_path):
    for name in (make_draft_name("a.png"), ".other.part", "a.png"):
        (tmp_path / name).write_text("")
    remove_drafts(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".other.part", "a.png"]


def test_missing_folders_are_made_when_the_file_is_written(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    check_writable(path)
    assert os.listdir(tmp_path) == []
    with atomic_write(path) as draft:
        draft.write_text("ours")
    assert path.read_text() == "ours"


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
def test_the_longest_file_name_is_written(tmp_path, name):
    with atomic_write(tmp_path / name) as draft:
        draft.write_text("complete")
    assert os.listdir(tmp_path) == [name]
