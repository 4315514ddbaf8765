"""References and prompts as people keep them: folders, mixed files, blank lines."""

import json

import pytest
from PIL import Image

from instantstyle.errors import ImageError, JobError
from instantstyle.generation.inputs import load_references, read_prompts


@pytest.fixture
def folder(tmp_path):
    for name, colour in (("b.png", "red"), ("a.jpg", "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / name)
    (tmp_path / "notes.md").write_text("mine")
    return tmp_path


def names(found) -> list[str]:
    return [exhibit.name for exhibit in found]


def test_a_folder_is_its_pictures_by_name(folder):
    found, bad = load_references([folder])
    assert (names(found), bad) == (["a.jpg", "b.png"], [])
    assert all(exhibit.sha256 and exhibit.content is None for exhibit in found)


def test_files_keep_their_order_and_equal_names_are_told_apart(folder):
    found, _ = load_references([folder / "b.png", folder])
    assert names(found) == ["b.png", "a.jpg", "b.png (2)"]


@pytest.mark.parametrize(
    ("file", "text"),
    [("contents.json", json.dumps({"b.png": "a cat"})), ("contents.csv", 'file,content\n\nb.png,"a cat"\n')],
)
def test_what_they_show_is_read_beside_them(folder, file, text):
    (folder / file).write_text(text)
    found, _ = load_references([folder])
    assert [exhibit.content for exhibit in found] == [None, "a cat"]
    assert load_references([folder / "b.png"])[0][0].content == "a cat"


def test_contents_of_a_picture_that_is_not_there_are_refused(folder):
    (folder / "contents.json").write_text('{"b.pgn": "a cat"}')
    with pytest.raises(JobError, match=r"b\.pgn.*Did you mean b\.png"):
        load_references([folder])


@pytest.mark.parametrize("text", ["[]", "{", '{"b.png": 3}'])
def test_contents_of_another_shape_are_one_line(folder, text):
    (folder / "contents.json").write_text(text)
    with pytest.raises(JobError, match="should say what each picture shows"):
        load_references([folder])


def test_an_unreadable_picture_is_named_and_skipped_only_if_asked(folder):
    (folder / "c.png").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"c\.png.*--skip-bad"):
        load_references([folder])
    found, [fault] = load_references([folder], skip_bad=True)
    assert names(found) == ["a.jpg", "b.png"]
    assert "c.png" in str(fault)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(JobError, match="holds no pictures"):
        load_references([tmp_path])


def test_nothing_readable_at_all_is_refused(tmp_path):
    (tmp_path / "c.png").write_bytes(b"no")
    with pytest.raises(JobError, match="no picture"):
        load_references([tmp_path], skip_bad=True)


def test_prompts_are_words_and_the_lines_of_files(tmp_path):
    (tmp_path / "p.txt").write_text("a cat\n\n  a tree \n\n")
    assert read_prompts(["a rocket", str(tmp_path / "p.txt")]) == ["a rocket", "a cat", "a tree"]


def test_a_file_of_blank_lines_holds_no_prompt(tmp_path):
    (tmp_path / "p.txt").write_text("\n \n")
    with pytest.raises(JobError, match="no prompt"):
        read_prompts([str(tmp_path / "p.txt")])


def test_a_file_of_prompts_that_is_not_there_is_no_prompt():
    with pytest.raises(JobError, match=r"nowhere\.txt cannot be read"):
        read_prompts(["nowhere.txt"])


def test_a_long_prompt_is_not_taken_for_a_file():
    assert read_prompts(["a cat " * 100]) == [("a cat " * 100).strip()]
