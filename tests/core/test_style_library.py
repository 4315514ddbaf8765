"""The library: styles by name in a folder of the user."""

import pytest

from instantstyle import JobError, Style, StyleError
from instantstyle.core import style_library as style_library
from instantstyle.core.style_library import SUFFIX, add, find_style_file, list_names, path_of, remove

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


@pytest.mark.parametrize("name", ["", ".", "..", "../ink", "a/b", "-x", "x" * 200, "a\nb"])
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
