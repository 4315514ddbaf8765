"""Images are written atomically, overwrite nothing unless forced, and contain their recipe."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from PIL import Image

from instantstyle import ImageError, JobError
from instantstyle.imaging.png_metadata import read_recipe, save_png
from instantstyle.recipe import Recipe

from ..test_recipe import recipe_fields

IMAGE = Image.new("RGB", (8, 8), "teal")
RECIPE = Recipe(prompt="a rocket", seed=1)


@given(recipe_fields)
def test_any_recipe_is_read_back_from_the_png(tmp_path_factory, fields):
    recipe = Recipe(**fields)
    path = save_png(IMAGE, tmp_path_factory.mktemp("out") / "a.png", recipe)
    assert read_recipe(path) == recipe


def test_the_png_has_texts_for_instantstyle_and_for_other_tools(tmp_path):
    path = save_png(IMAGE, tmp_path / "a.png", RECIPE.replace(prompt="火箭"))
    with Image.open(path) as image:
        assert Recipe.from_json(image.info["instantstyle"]).prompt == "火箭"
        assert image.info["parameters"].startswith("火箭\n")
        assert image.getpixel((0, 0)) == (0, 128, 128)


def test_a_file_is_overwritten_only_with_force(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(JobError, match=r"exists already.*--force"):
        save_png(IMAGE, path, RECIPE)
    assert path.read_bytes() == b"precious"
    assert read_recipe(save_png(IMAGE, path, RECIPE, force=True)) == RECIPE


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    link = os.link
    monkeypatch.setattr(os, "link", lambda draft, name: (path.write_bytes(b"faster"), link(draft, name)))
    with pytest.raises(JobError, match="exists already"):
        save_png(IMAGE, path, RECIPE)
    assert path.read_bytes() == b"faster"
    assert os.listdir(tmp_path) == ["a.png"]


def test_an_image_is_written_also_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("hard links are not supported")

    monkeypatch.setattr(os, "link", refuse)
    assert read_recipe(save_png(IMAGE, tmp_path / "a.png", RECIPE)) == RECIPE
    with pytest.raises(JobError, match="exists already"):
        save_png(IMAGE, tmp_path / "a.png", RECIPE)


def test_a_full_disk_leaves_no_file(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(JobError, match="No space left on device"):
        save_png(IMAGE, tmp_path / "a.png", RECIPE)
    assert os.listdir(tmp_path) == []


def test_the_file_has_the_default_permissions(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    path = save_png(IMAGE, tmp_path / "a.png", RECIPE)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.jpg", "end in .png"), ("file/a.png", "is not a folder"), ("dir.png", "is a folder")],
)
def test_an_unusable_output_path_is_an_error(tmp_path, name, message):
    (tmp_path / "dir.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match=message):
        save_png(IMAGE, tmp_path / name, RECIPE)


def test_the_png_of_another_program_has_no_recipe(tmp_path: Path):
    IMAGE.save(tmp_path / "a.png")
    with pytest.raises(JobError, match="carries no recipe"):
        read_recipe(tmp_path / "a.png")


def test_reading_the_recipe_of_a_missing_file_is_an_image_error(tmp_path: Path):
    with pytest.raises(ImageError, match="does not exist"):
        read_recipe(tmp_path / "a.png")
