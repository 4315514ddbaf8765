"""A picture is on disk whole or not at all, never in place of another, and knows how it was made."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from PIL import Image

from instantstyle import ImageError, JobError
from instantstyle.imaging.png_metadata import read_recipe, save_png
from instantstyle.recipe import Recipe

from ..test_recipe import recipes

PICTURE = Image.new("RGB", (8, 8), "teal")
RECIPE = Recipe(prompt="a rocket", seed=1)


@given(recipes)
def test_any_recipe_survives_the_png(tmp_path_factory, recipe):
    path = save_png(PICTURE, tmp_path_factory.mktemp("out") / "a.png", recipe)
    assert read_recipe(path) == recipe


def test_both_texts_are_there_for_any_reader(tmp_path):
    path = save_png(PICTURE, tmp_path / "a.png", RECIPE.replace(prompt="火箭"))
    with Image.open(path) as image:
        assert Recipe.from_json(image.info["instantstyle"]).prompt == "火箭"
        assert image.info["parameters"].startswith("火箭\n")
        assert image.getpixel((0, 0)) == (0, 128, 128)


def test_nothing_is_overwritten_unless_forced(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(JobError, match=r"exists already.*--force"):
        save_png(PICTURE, path, RECIPE)
    assert path.read_bytes() == b"precious"
    assert read_recipe(save_png(PICTURE, path, RECIPE, force=True)) == RECIPE


def test_a_file_made_while_we_drew_is_not_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    link = os.link
    monkeypatch.setattr(os, "link", lambda draft, name: (path.write_bytes(b"faster"), link(draft, name)))
    with pytest.raises(JobError, match="exists already"):
        save_png(PICTURE, path, RECIPE)
    assert path.read_bytes() == b"faster"
    assert os.listdir(tmp_path) == ["a.png"]


def test_without_hard_links_a_picture_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert read_recipe(save_png(PICTURE, tmp_path / "a.png", RECIPE)) == RECIPE
    with pytest.raises(JobError, match="exists already"):
        save_png(PICTURE, tmp_path / "a.png", RECIPE)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(JobError, match="No space left on device"):
        save_png(PICTURE, tmp_path / "a.png", RECIPE)
    assert os.listdir(tmp_path) == []


def test_the_file_has_the_permissions_that_any_new_file_gets(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    path = save_png(PICTURE, tmp_path / "a.png", RECIPE)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "told"),
    [("a.jpg", "end in .png"), ("no/such/a.png", "create it first"), ("dir.png", "is a folder")],
)
def test_a_place_that_will_not_do_is_refused(tmp_path, name, told):
    (tmp_path / "dir.png").mkdir()
    with pytest.raises(JobError, match=told):
        save_png(PICTURE, tmp_path / name, RECIPE)


def test_a_png_of_somebody_else_has_no_recipe(tmp_path: Path):
    PICTURE.save(tmp_path / "a.png")
    with pytest.raises(JobError, match="carries no recipe"):
        read_recipe(tmp_path / "a.png")


def test_what_is_no_picture_has_no_recipe(tmp_path: Path):
    with pytest.raises(ImageError, match="does not exist"):
        read_recipe(tmp_path / "a.png")
