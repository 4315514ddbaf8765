"""Files of the studio: names of images, permissions, and paths in messages."""

from hashlib import sha256
from pathlib import Path

import pytest

from instantstyle.imaging.loading import open_reference
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.recipe import Recipe
from instantstyle.studio.actions import prepend


def test_an_image_is_found_by_its_name_and_contains_its_recipe(store, reference):
    recipe = Recipe(prompt="A rocket, überall!", seed=7)
    path = store.save_image(reference, recipe)
    assert path.name.startswith("a-rocket-überall-7-")
    assert store.find_image(path.name) == path
    assert read_recipe(path) == recipe


def test_the_longest_name_can_be_written_and_found(store, reference):
    path = store.save_image(reference, Recipe(prompt="𝔞" * 200, seed=2**63 - 1))
    assert store.find_image(path.name) == path


@pytest.mark.parametrize("name", ["../image.png", "/etc/passwd", "a.png/../b.png", "", None, 7, "missing.png"])
def test_no_other_name_is_found(store, name):
    assert store.find_image(name) is None
    store.remove_images([name])


def test_the_folder_is_accessible_to_its_owner_only(store):
    assert store.images.parent.stat().st_mode & 0o077 == 0


def test_messages_contain_no_folders(store, uploaded):
    reference = store.add_reference(Path(uploaded["path"]), "ink.png")
    assert store.strip_folders(f"{reference.name} is damaged.") == "ink.png is damaged."


def test_an_uploaded_image_is_stored_as_it_was_checked_though_the_file_changes_meanwhile(store, uploaded, monkeypatch):
    path = Path(uploaded["path"])
    before = path.read_bytes()

    def check_and_replace(*source):
        image = open_reference(*source)
        path.write_bytes(b"no image")
        return image

    monkeypatch.setattr("instantstyle.studio.image_store.open_reference", check_and_replace)
    reference = store.add_reference(path, "ink.png")
    assert Path(reference.name).read_bytes() == before
    assert reference.sha256 == sha256(before).hexdigest()


def test_the_newest_image_comes_first_and_each_once():
    assert prepend("c", ["b", "c", "a"], 2) == ["c", "b"]
