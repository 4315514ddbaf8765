"""The library: styles by name in a folder of the user."""

import pytest

from instantstyle import JobError, Style, StyleError
from instantstyle.core import style_library as style_library
from instantstyle.core.style_library import (
    SUFFIX,
    add,
    find_style_file,
    list_names,
    make_style_name,
    normalize_style_name,
    path_of,
    remove,
)

from .test_style_file import complete_style


@pytest.fixture
def empty_library(monkeypatch, tmp_path):
    """An empty library whose folder does not exist yet."""
    monkeypatch.setenv("INSTANTSTYLE_STYLES", str(tmp_path / "share" / "styles"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "share" / "styles"


@pytest.fixture
def style_file(tmp_path):
    return complete_style().save(tmp_path / f"ink{SUFFIX}")


def test_the_default_folder_is_the_users_data_folder(monkeypatch):
    monkeypatch.delenv("INSTANTSTYLE_STYLES")
    assert style_library.library_folder().parts[-2:] == ("instantstyle", "styles")


def test_styles_are_added_listed_and_removed_by_name(empty_library, style_file):
    assert list_names() == []
    assert add(style_file) == empty_library / f"ink{SUFFIX}"
    add(style_file, "deep ink")
    assert list_names() == ["deep ink", "ink"]
    assert path_of("ink").read_bytes() == style_file.read_bytes()
    remove("ink")
    assert list_names() == ["deep ink"]


def test_an_existing_name_is_replaced_only_if_forced(empty_library, style_file):
    add(style_file)
    with pytest.raises(JobError, match="exists already"):
        add(style_file)
    add(style_file, force=True)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../ink", "a/b", "-x", "x" * 200, "a\nb", "墨" * 80, "\u0301a"),
        *("a\0b", "\ud800", "a\u202eb", "ink\u200d", "क्ष\u200d", "aم\u200cx"),
    ],
)
def test_an_invalid_name_raises_an_error(empty_library, style_file, name):
    with pytest.raises(StyleError):
        add(style_file, name)
    with pytest.raises(StyleError):
        remove(name)


def test_an_unknown_name_lists_the_library_and_suggests_the_nearest(empty_library, style_file):
    add(style_file)
    with pytest.raises(StyleError, match=r"it has ink\. Did you mean ink\?"):
        path_of("inc")
    with pytest.raises(StyleError, match=r"Did you mean ink\?"):
        find_style_file("inc")


def test_an_existing_file_takes_precedence_over_a_library_name(empty_library, style_file, tmp_path):
    add(style_file)
    assert find_style_file("ink") == empty_library / f"ink{SUFFIX}"
    (tmp_path / "ink").write_bytes(b"an image")
    assert find_style_file("ink") is None


def test_paths_are_files_and_images_are_not_styles(empty_library, style_file, tmp_path):
    add(style_file)
    assert find_style_file(style_file) == style_file
    assert find_style_file(f"nowhere{SUFFIX}") is not None
    assert find_style_file(tmp_path / "ink.png") is None
    assert find_style_file("./ink") is None
    assert find_style_file(object()) is None


def test_a_style_is_loaded_by_its_name(empty_library, style_file):
    add(style_file)
    assert Style.load("ink").name == "ink.png"


NAMES = {
    "नमस्ते": "नमस्ते",
    "วาดเขียน": "วาดเขียน",
    "墨絵 2": "墨絵 2",
    "می\u200cخواهم": "می\u200cخواهم",
    "क्\u200dष": "क्\u200dष",
    "cafe\u0301": "caf\u00e9",
    " ink_1.0+x-y ": "ink_1.0+x-y",
    f"ink{SUFFIX}": "ink",
}


def test_a_name_has_letters_and_marks_of_any_script_in_one_normalization():
    assert {name: normalize_style_name(name) for name in NAMES} == NAMES
    assert {name: normalize_style_name(once) for name, once in NAMES.items()} == NAMES


def test_a_style_is_found_by_both_normalizations_of_its_name(empty_library, style_file):
    path = add(style_file, "cafe\u0301")
    assert path.name == f"caf\u00e9{SUFFIX}"
    assert path_of("cafe\u0301") == path_of("caf\u00e9") == find_style_file("cafe\u0301") == path
    # As macOS and earlier releases wrote it.
    decomposed = path.rename(empty_library / f"cafe\u0301{SUFFIX}")
    assert list_names() == ["caf\u00e9"]
    assert path_of("caf\u00e9") == decomposed
    with pytest.raises(JobError, match="exists already"):
        add(style_file, "caf\u00e9")
    remove("caf\u00e9")
    assert list_names() == []


def test_any_text_becomes_a_valid_name():
    texts = "photo (1).png", "", "-", "\u0301a", "墨" * 200, "a\u202e.png", "\ud800", "a" * 5000, "../ink.png"
    names = [make_style_name(text) for text in texts]
    assert [normalize_style_name(name) for name in names] == names
    assert names[:3] == ["photo -1-.png", "style", "style"]
    assert make_style_name("ink.png") == "ink.png"


def test_files_that_are_no_styles_with_a_name_are_left_out_and_break_nothing(empty_library, style_file, caplog):
    add(style_file)
    (empty_library / f"a\nb{SUFFIX}").write_bytes(b"")
    (empty_library / f"folder{SUFFIX}").mkdir()
    (empty_library / f"gone{SUFFIX}").symlink_to(empty_library / "nowhere")
    assert list_names() == ["ink"]
    assert len(caplog.records) == 3
    assert [path_of(name).name for name in list_names()] == [f"ink{SUFFIX}"]


def test_a_damaged_style_is_deleted_unread(empty_library):
    empty_library.mkdir(parents=True)
    (empty_library / f"bad{SUFFIX}").write_bytes(b"damaged")
    assert list_names() == ["bad"]
    assert not remove("bad").exists()


def test_a_library_that_cannot_be_used_raises_errors_of_this_package(monkeypatch, tmp_path, style_file):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("INSTANTSTYLE_STYLES", str(tmp_path / "file" / "styles"))
    assert list_names() == []
    with pytest.raises(StyleError, match="cannot be created"):
        add(style_file)
    with pytest.raises(StyleError, match="cannot be read"):
        add(tmp_path / "nowhere", "ink")


def test_a_name_longer_than_file_systems_allow_is_no_style(empty_library):
    assert find_style_file("x" * 5000) is None
