"""Journals of results: resuming, other settings and invalid files."""

import json

import pytest

from instantstyle.errors import JobError
from instantstyle.utils.result_journal import ResultJournal, read_journal


def test_added_results_are_read_when_the_job_is_resumed(tmp_path):
    path = tmp_path / "j.json"
    ResultJournal(path, {"steps": 3, "size": (8, 8)}).add("one", {"look": [0.5]})
    assert ResultJournal(path, {"steps": 3, "size": (8, 8)}).cells == {"one": {"look": [0.5]}}


def test_other_settings_are_rejected_with_both_values(tmp_path):
    path = tmp_path / "j.json"
    ResultJournal(path, {"steps": 3, "seed": 1}).write()
    with pytest.raises(JobError, match=r"steps 3, not 4.*delete it") as error:
        ResultJournal(path, {"steps": 4, "seed": 1})
    assert "seed" not in str(error.value)


def test_a_summary_is_written_beside_the_cells(tmp_path):
    journal = ResultJournal(tmp_path / "j.json", {})
    journal.add("one", [1])
    journal.write(roles={"style": []})
    content = json.loads(journal.path.read_text())
    assert (content["roles"], content["cells"]) == ({"style": []}, {"one": [1]})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1}'])
def test_a_file_that_is_not_a_journal_is_not_changed(tmp_path, text):
    path = tmp_path / "j.json"
    path.write_text(text)
    with pytest.raises(JobError):
        ResultJournal(path, {})
    assert path.read_text() == text


def test_a_journal_that_does_not_exist_cannot_be_read(tmp_path):
    with pytest.raises(JobError, match="does not exist"):
        read_journal(tmp_path / "nowhere.json")


def test_the_folder_of_a_journal_must_exist(tmp_path):
    with pytest.raises(JobError, match="not a folder"):
        ResultJournal(tmp_path / "nowhere" / "j.json", {})
