"""References and prompts are read from folders and files, with content files and blank lines."""

import json
from hashlib import sha256

import pytest
from PIL import Image

from instantstyle.errors import ImageError, JobError
from instantstyle.generation import inputs
from instantstyle.generation.inputs import load_references, read_prompts
from instantstyle.imaging.loading import open_reference


@pytest.fixture
def folder(tmp_path):
    for name, colour in (("b.png", "red"), ("a.jpg", "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / name)
    (tmp_path / "notes.md").write_text("mine")
    return tmp_path


def names(found) -> list[str]:
    return [reference.name for reference in found]


def test_a_folder_gives_its_images_in_order_of_their_names(folder):
    found, bad = load_references([folder])
    assert (names(found), bad) == (["a.jpg", "b.png"], [])
    assert all(reference.sha256 and reference.content is None for reference in found)


def test_the_hash_is_that_of_the_image_though_the_file_changes_meanwhile(folder, monkeypatch):
    before = (folder / "b.png").read_bytes()

    def swap(*source):
        image = open_reference(*source)
        Image.new("RGB", (8, 8), "green").save(folder / "b.png")
        return image

    monkeypatch.setattr(inputs, "open_reference", swap)
    [found], _ = load_references([folder / "b.png"])
    assert found.image.getpixel((0, 0)) == (255, 0, 0)
    assert found.sha256 == sha256(before).hexdigest() != sha256((folder / "b.png").read_bytes()).hexdigest()


def test_files_keep_their_order_and_equal_names_are_numbered(folder):
    found, _ = load_references([folder / "b.png", folder])
    assert names(found) == ["b.png", "a.jpg", "b.png (2)"]


@pytest.mark.parametrize(
    ("file", "text"),
    [("contents.json", json.dumps({"b.png": "a cat"})), ("contents.csv", 'file,content\n\nb.png,"a cat"\n')],
)
def test_content_is_read_from_a_file_beside_the_images(folder, file, text):
    (folder / file).write_text(text)
    found, _ = load_references([folder])
    assert [reference.content for reference in found] == [None, "a cat"]
    assert load_references([folder / "b.png"])[0][0].content == "a cat"


def test_content_of_a_missing_image_raises_an_error(folder):
    (folder / "contents.json").write_text('{"b.pgn": "a cat"}')
    with pytest.raises(JobError, match=r"b\.pgn.*Did you mean b\.png"):
        load_references([folder])


@pytest.mark.parametrize("text", ["[]", "{", '{"b.png": 3}'])
def test_a_content_file_of_another_form_raises_an_error(folder, text):
    (folder / "contents.json").write_text(text)
    with pytest.raises(JobError, match="should name the content of each image"):
        load_references([folder])


def test_an_unreadable_image_raises_an_error_or_is_skipped_on_request(folder):
    (folder / "c.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"c\.png.*--skip-bad"):
        load_references([folder])
    found, [error] = load_references([folder], skip_bad=True)
    assert names(found) == ["a.jpg", "b.png"]
    assert "c.png" in str(error)


def test_a_folder_without_images_raises_an_error(tmp_path):
    with pytest.raises(JobError, match="has no images"):
        load_references([tmp_path])


def test_no_readable_image_at_all_raises_an_error(tmp_path):
    (tmp_path / "c.png").write_bytes(b"no")
    with pytest.raises(JobError, match="no readable image"):
        load_references([tmp_path], skip_bad=True)


def test_prompts_come_from_words_and_from_lines_of_files(tmp_path):
    (tmp_path / "p.txt").write_text("a cat\n\n  a tree \n\n")
    assert read_prompts(["a rocket", str(tmp_path / "p.txt")]) == ["a rocket", "a cat", "a tree"]


def test_a_file_of_blank_lines_raises_an_error(tmp_path):
    (tmp_path / "p.txt").write_text("\n \n")
    with pytest.raises(JobError, match="no prompt"):
        read_prompts([str(tmp_path / "p.txt")])


def test_a_missing_file_of_prompts_raises_an_error():
    with pytest.raises(JobError, match=r"nowhere\.txt does not exist"):
        read_prompts(["nowhere.txt"])


def test_a_prompt_too_long_for_a_file_name_is_a_prompt():
    assert read_prompts(["a cat " * 100]) == [("a cat " * 100).strip()]


SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r"
"""Characters at which `str.splitlines` ends a line, and a prompt does not end."""


def test_a_line_of_prompts_ends_at_a_line_feed_and_nowhere_else(tmp_path):
    (tmp_path / "p.txt").write_bytes(f"a{SEPARATORS}rocket\r\na cat\n".encode())
    assert read_prompts([str(tmp_path / "p.txt")]) == [f"a{SEPARATORS}rocket", "a cat"]


def test_a_cell_of_contents_ends_at_its_comma_or_line_and_nowhere_else(folder):
    words = f"a{SEPARATORS[:-1]}cat"
    (folder / "contents.csv").write_bytes(f'b.png,{words}\r\na.jpg,"two\nlines"\r\n'.encode())
    found, _ = load_references([folder])
    assert [reference.content for reference in found] == ["two\nlines", words]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\0b", r"p\.txt, line 2: 'a\\x00b' has a NUL character"),
        ("x" * 100_001, r"p\.txt, line 2: 'x+\.\.\.x+' has more than 100,000 characters"),
    ],
)
def test_a_prompt_that_no_recipe_can_hold_is_refused_with_its_line(tmp_path, line, message):
    (tmp_path / "p.txt").write_text(f"a\n{line}\n")
    with pytest.raises(JobError, match=message):
        read_prompts([str(tmp_path / "p.txt")])


def test_a_prompt_with_half_a_surrogate_pair_is_refused():
    # As Python decodes an argument that is not UTF-8.
    with pytest.raises(JobError, match=r"A prompt: 'a\\udcff' has half a surrogate pair"):
        read_prompts(["a\udcff"])


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("contents.json", "[" * 990),
        ("contents.json", "[" * 10**5),
        ("contents.json", '{"b.png": %s}' % ("1" * 5000)),
        ("contents.json", '{"b.png": "\\ud800"}'),
        ("contents.json", '{"b.png": "a\\u0000"}'),
        ("contents.json", '{"%s": "a"}' % ("x" * 10**6)),
        ("contents.csv", "b.png," + "x" * 200_000),
        ("contents.csv", "b.png,a\rb"),
        ("contents.csv", "b.png,a\0b"),
        ("contents.csv", "b.png,a,b"),
        ("contents.csv", "b.png,a\nb.png,b"),
        ("contents.json", '{"b.png": "a", "b.png": "b"}'),
    ],
)
def test_hostile_contents_are_refused_in_a_short_line(folder, file, text):
    (folder / file).write_text(text)
    with pytest.raises(JobError, match=file) as caught:
        load_references([folder])
    assert len(str(caught.value)) < 800
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["p.txt", "contents.json", "contents.csv"])
def test_a_sparse_file_is_refused_before_it_is_read(folder, name):
    with (folder / name).open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(JobError, match="1,000,000 MB"):
        read_prompts([str(folder / name)]) if name == "p.txt" else load_references([folder])
