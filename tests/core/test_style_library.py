"""The library: styles by name, in a folder of one's own."""

import pytest

from instantstyle import JobError, Style, StyleError
from instantstyle.core import style_library as kept
from instantstyle.core.style_library import SUFFIX, add, find_style_file, list_names, path_of, remove

from .test_style_file import whole


@pytest.fixture
def shelf(monkeypatch, tmp_path):
    """An empty library in a folder that is not there yet."""
    monkeypatch.setenv("INSTANTSTYLE_STYLES", str(tmp_path / "share" / "styles"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "share" / "styles"


@pytest.fixture
def file(tmp_path):
    return whole().save(tmp_path / f"ink{SUFFIX}")


def test_without_the_variable_it_is_where_the_system_keeps_such_things(monkeypatch):
    monkeypatch.delenv("INSTANTSTYLE_STYLES")
    assert kept.library_folder().parts[-2:] == ("instantstyle", "styles")


def test_styles_come_and_go_by_name(shelf, file):
    assert list_names() == []
    assert add(file) == shelf / f"ink{SUFFIX}"
    add(file, "deep ink")
    assert list_names() == ["deep ink", "ink"]
    assert path_of("ink").read_bytes() == file.read_bytes()
    remove("ink")
    assert list_names() == ["deep ink"]


def test_a_name_that_is_taken_is_kept_unless_forced(shelf, file):
    add(file)
    with pytest.raises(JobError, match="exists already"):
        add(file)
    add(file, force=True)


@pytest.mark.parametrize("name", ["", ".", "..", "../ink", "a/b", "-x", "x" * 200, "a\nb"])
def test_a_name_is_no_path(shelf, file, name):
    with pytest.raises(StyleError):
        add(file, name)
    with pytest.raises(StyleError):
        remove(name)


def test_an_unknown_name_lists_the_known_and_suggests_the_nearest(shelf, file):
    add(file)
    with pytest.raises(StyleError, match=r"it has ink\. Did you mean ink\?"):
        path_of("inc")
    with pytest.raises(StyleError, match=r"Did you mean ink\?"):
        find_style_file("inc")


def test_a_name_means_the_librarys_style_only_where_no_such_file_is(shelf, file, tmp_path):
    add(file)
    assert find_style_file("ink") == shelf / f"ink{SUFFIX}"
    (tmp_path / "ink").write_bytes(b"a picture")
    assert find_style_file("ink") is None


def test_paths_mean_files_and_pictures_are_none_of_ours(shelf, file, tmp_path):
    add(file)
    assert find_style_file(file) == file
    assert find_style_file(f"nowhere{SUFFIX}") is not None
    assert find_style_file(tmp_path / "ink.png") is None
    assert find_style_file("./ink") is None
    assert find_style_file(object()) is None


def test_a_style_loads_by_its_name(shelf, file):
    add(file)
    assert Style.load("ink").name == "ink.png"
