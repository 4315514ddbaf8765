"""An image is reproduced from the recipe inside it; differences and missing files are reported."""

import numpy as np
import pytest
import torch
from PIL import Image

from instantstyle import JobError
from instantstyle.generation.reproduce import compare_images, locate_files
from instantstyle.imaging.loading import file_sha256, open_reference
from instantstyle.imaging.png_metadata import read_recipe, save_png
from instantstyle.recipe import Recipe

from ..cli.conftest import model, run

__all__ = ["model", "run"]

SHORT = ("--steps", 2, "--height", 16, "--width", 16, "--seed", 7)
RECIPE = Recipe(prompt="a rocket", seed=1, versions={"torch": "2.6.0"}, scheduler="DDIMScheduler")


@pytest.fixture
def reproduce(run, model, reference, tmp_path):
    """Generate an image beside its reference; return the command that reproduces it."""
    reference.save(tmp_path / "ink.png")
    done = run("generate", "a rocket", "--style", "ink.png", "--model", model, *SHORT, "-o", "out.png")
    assert done.code == 0
    return lambda *words: run("reproduce", "out.png", *words)


def test_the_image_and_its_file_are_reproduced_bit_by_bit(reproduce, tmp_path):
    done = reproduce("-o", "again.png")
    assert (done.code, done.out, done.err) == (0, "bit-identical\n", "")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()


def test_recipe_and_pixels_are_those_of_one_file_though_it_changes_meanwhile(reproduce, tmp_path, monkeypatch):
    path = tmp_path / "out.png"

    def replace_first(*source):
        save_png(Image.new("RGB", (16, 16), "teal"), path, RECIPE, force=True)
        return open_reference(*source)

    monkeypatch.setattr("instantstyle.generation.reproduce.open_reference", replace_first)
    assert reproduce().out == "bit-identical\n"
    assert read_recipe(path) == RECIPE


def test_it_is_generated_in_the_dtype_of_the_recipe(run, model, monkeypatch):
    """The default dtype of a CPU is measured, and a later measurement may give another one."""
    with monkeypatch.context() as patch:
        patch.setattr("instantstyle.models.default_dtype.fastest_cpu_dtype", lambda: torch.bfloat16)
        assert run("generate", "a rocket", "--model", model, *SHORT, "-o", "out.png").code == 0
    assert read_recipe("out.png").dtype == "bfloat16"
    assert run("reproduce", "out.png").out == "bit-identical\n"


def test_without_an_output_path_nothing_is_written(reproduce, tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    assert reproduce().code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_number_of_differing_pixels_and_changed_versions_are_reported(reproduce, tmp_path):
    recipe = read_recipe(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        pixels = np.array(image)
    pixels[3, 4, 1] ^= 5
    altered = recipe.replace(versions={**recipe.versions, "torch": "1.0"})
    save_png(Image.fromarray(pixels), tmp_path / "out.png", altered, force=True)
    done = reproduce()
    assert done.code == 1
    assert done.out.startswith("1 of 256 pixels differ, by ")
    assert f"torch 1.0 then, {recipe.versions['torch']} now" in done.out


def test_a_reference_is_found_by_its_content_under_another_name(reproduce, tmp_path):
    (tmp_path / "refs").mkdir()
    (tmp_path / "ink.png").rename(tmp_path / "refs" / "other name.png")
    missing = reproduce()
    assert missing.code == 2
    assert "ink.png (sha256 " in missing.err
    assert "was not found" in missing.err
    assert reproduce("--references", "refs").out == "bit-identical\n"


def test_another_file_of_the_same_name_raises_an_error(reproduce, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "ink.png")
    done = reproduce()
    assert done.code == 2
    assert "ink.png is another file than the image was generated with" in done.err


def test_a_restyled_image_is_reproduced(run, model, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    Image.new("RGB", (32, 16), "teal").save(tmp_path / "photo.png")
    few = ("--model", model, "--steps", 4, "--seed", 7)
    assert run("restyle", "photo.png", "--style", "ink.png", *few, "-o", "out.png").code == 0
    assert read_recipe(tmp_path / "out.png").num_inference_steps == 4
    assert run("reproduce", "out.png").out == "bit-identical\n"


def test_an_image_without_a_recipe_raises_an_error(run, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "out.png")
    done = run("reproduce", "out.png")
    assert done.code == 2
    assert "carries no recipe" in done.err


def test_all_missing_files_are_reported_at_once(tmp_path):
    files = [{"name": name, "sha256": "0" * 64} for name in ("a.png", "b.png")]
    recipe = RECIPE.replace(references=files[:1], mask=files[1])
    with pytest.raises(JobError, match=r"a\.png .*b\.png"):
        locate_files(recipe, [tmp_path])


def test_a_style_of_the_library_is_found_by_name_and_by_content(library, tmp_path):
    library.mkdir(exist_ok=True)
    kept = library / "ink.style.safetensors"
    kept.write_bytes(b"a style")
    for name, sha256 in (("ink", file_sha256(kept)), ("renamed", file_sha256(kept)), ("ink", None)):
        recipe = RECIPE.replace(references=[{"name": name, "sha256": sha256}])
        assert locate_files(recipe, [tmp_path]).references[0].name == str(kept)
    with pytest.raises(JobError, match="another file"):
        locate_files(RECIPE.replace(references=[{"name": "ink", "sha256": "0" * 64}]), [tmp_path])
    kept.unlink()


def test_images_are_compared_by_size_pixels_and_versions():
    black, white = Image.new("RGB", (8, 4)), Image.new("RGB", (8, 4), "white")
    assert str(compare_images(black, black, RECIPE, RECIPE)) == "bit-identical"
    assert str(compare_images(black, white, RECIPE, RECIPE)) == "32 of 32 pixels differ, by 255 of 255 at most"
    wide = compare_images(black, Image.new("RGB", (9, 4)), RECIPE, RECIPE.replace(scheduler="EulerDiscreteScheduler"))
    assert str(wide) == ("it was 8×4 pixels, and is 9×4; scheduler DDIMScheduler then, EulerDiscreteScheduler now")
    assert not wide.identical
