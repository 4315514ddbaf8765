"""What lies on disk, and what no name leads out of it."""

import pytest

from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.recipe import Recipe
from instantstyle.studio.image_store import newest


def test_a_picture_is_found_by_its_name_with_its_recipe_inside(keep, reference):
    recipe = Recipe(prompt="A rocket, überall!", seed=7)
    path = keep.add(reference, recipe)
    assert path.name.startswith("a-rocket-berall-7-")
    assert keep.picture(path.name) == path
    assert read_recipe(path) == recipe


@pytest.mark.parametrize("name", ["../keep.png", "/etc/passwd", "a.png/../b.png", "", None, 7, "gone.png"])
def test_no_other_name_means_a_picture(keep, name):
    assert keep.picture(name) is None
    keep.remove([name])


def test_others_of_this_machine_do_not_see_it(keep):
    assert keep.pictures.parent.stat().st_mode & 0o077 == 0


def test_a_sentence_is_told_without_the_places(keep, sent):
    from pathlib import Path

    reference = keep.reference(Path(sent["path"]), "ink.png")
    assert keep.without_places(f"{reference.name} is damaged.") == "ink.png is damaged."


def test_the_newest_come_first_and_each_once():
    assert newest(["c"], ["b", "c", "a"], 2) == ["c", "b"]
