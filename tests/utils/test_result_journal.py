import json

import pytest

from instantstyle.errors import JobError
from instantstyle.utils.result_journal import ResultJournal, read


def test_what_was_added_is_there_when_it_is_taken_up_again(tmp_path):
    path = tmp_path / "j.json"
    ResultJournal(path, {"steps": 3, "size": (8, 8)}).add("one", {"look": [0.5]})
    assert ResultJournal(path, {"steps": 3, "size": (8, 8)}).cells == {"one": {"look": [0.5]}}


def test_other_settings_are_refused_with_both_values(tmp_path):
    path = tmp_path / "j.json"
    ResultJournal(path, {"steps": 3, "seed": 1}).write()
    with pytest.raises(JobError, match=r"steps 3, not 4.*delete it") as told:
        ResultJournal(path, {"steps": 4, "seed": 1})
    assert "seed" not in str(told.value)


def test_findings_stand_beside_the_cells(tmp_path):
    journal = ResultJournal(tmp_path / "j.json", {})
    journal.add("one", [1])
    journal.write(roles={"style": []})
    held = json.loads(journal.path.read_text())
    assert (held["roles"], held["cells"]) == ({"style": []}, {"one": [1]})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1}'])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path, text):
    path = tmp_path / "j.json"
    path.write_text(text)
    with pytest.raises(JobError):
        ResultJournal(path, {})
    assert path.read_text() == text


def test_a_journal_that_is_not_there_cannot_be_read(tmp_path):
    with pytest.raises(JobError, match="does not exist"):
        read(tmp_path / "nowhere.json")


def test_a_journal_needs_a_folder(tmp_path):
    with pytest.raises(JobError, match="not a folder"):
        ResultJournal(tmp_path / "nowhere" / "j.json", {})
