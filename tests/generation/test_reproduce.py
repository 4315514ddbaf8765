"""A picture is drawn again from what is inside it, or it is said what differs and what is missing."""

import numpy as np
import pytest
import torch
from PIL import Image

from instantstyle import JobError
from instantstyle.generation.reproduce import compared, locate_files
from instantstyle.imaging.loading import file_sha256
from instantstyle.imaging.png_metadata import read_recipe, save_png
from instantstyle.recipe import Recipe

from ..cli.conftest import model, run

__all__ = ["model", "run"]

SHORT = ("--steps", 2, "--height", 16, "--width", 16, "--seed", 7)
RECIPE = Recipe(prompt="a rocket", seed=1, versions={"torch": "2.6.0"}, scheduler="DDIMScheduler")


@pytest.fixture
def drawn(run, model, reference, tmp_path):
    """A picture beside its reference, and the command to draw it again."""
    reference.save(tmp_path / "ink.png")
    done = run("generate", "a rocket", "--style", "ink.png", "--model", model, *SHORT, "-o", "out.png")
    assert done.code == 0
    return lambda *words: run("reproduce", "out.png", *words)


def test_it_comes_out_the_same_to_the_bit_and_so_does_its_file(drawn, tmp_path):
    done = drawn("-o", "again.png")
    assert (done.code, done.out, done.err) == (0, "bit-identical\n", "")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()


def test_it_is_drawn_in_the_numbers_in_which_it_was_drawn(run, model, monkeypatch):
    """What is fastest on a CPU is measured, and may be measured otherwise the next time."""
    with monkeypatch.context() as patch:
        patch.setattr("instantstyle.models.default_dtype.fastest_on_cpu", lambda: torch.bfloat16)
        assert run("generate", "a rocket", "--model", model, *SHORT, "-o", "out.png").code == 0
    assert read_recipe("out.png").dtype == "bfloat16"
    assert run("reproduce", "out.png").out == "bit-identical\n"


def test_without_an_output_nothing_is_written(drawn, tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    assert drawn().code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_picture_that_differs_is_told_by_how_much(drawn, tmp_path):
    recipe = read_recipe(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        pixels = np.array(image)
    pixels[3, 4, 1] ^= 5
    altered = recipe.but(versions={**recipe.versions, "torch": "1.0"})
    save_png(Image.fromarray(pixels), tmp_path / "out.png", altered, force=True)
    done = drawn()
    assert done.code == 1
    assert done.out.startswith("1 of 256 pixels differ, by ")
    assert f"torch 1.0 then, {recipe.versions['torch']} now" in done.out


def test_a_reference_is_known_by_its_content_whatever_it_is_called(drawn, tmp_path):
    (tmp_path / "refs").mkdir()
    (tmp_path / "ink.png").rename(tmp_path / "refs" / "other name.png")
    missing = drawn()
    assert missing.code == 2
    assert "ink.png (sha256 " in missing.err
    assert "not to be found" in missing.err
    assert drawn("--references", "refs").out == "bit-identical\n"


def test_another_picture_of_the_same_name_is_refused(drawn, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "ink.png")
    done = drawn()
    assert done.code == 2
    assert "ink.png is another file than the picture was drawn with" in done.err


def test_a_restyled_picture_comes_out_the_same_too(run, model, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    Image.new("RGB", (32, 16), "teal").save(tmp_path / "photo.png")
    few = ("--model", model, "--steps", 4, "--seed", 7)
    assert run("restyle", "photo.png", "--style", "ink.png", *few, "-o", "out.png").code == 0
    assert read_recipe(tmp_path / "out.png").num_inference_steps == 4
    assert run("reproduce", "out.png").out == "bit-identical\n"


def test_a_picture_without_a_recipe_is_refused(run, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "out.png")
    done = run("reproduce", "out.png")
    assert done.code == 2
    assert "carries no recipe" in done.err


def test_all_that_is_missing_is_told_at_once(tmp_path):
    named = [{"name": name, "sha256": "0" * 64} for name in ("a.png", "b.png")]
    recipe = RECIPE.but(references=named[:1], mask=named[1])
    with pytest.raises(JobError, match=r"a\.png .*b\.png"):
        locate_files(recipe, [tmp_path])


def test_a_style_of_the_library_is_found_by_name_and_by_content(library, tmp_path):
    library.mkdir(exist_ok=True)
    kept = library / "ink.style.safetensors"
    kept.write_bytes(b"a style")
    for name, sha256 in (("ink", file_sha256(kept)), ("renamed", file_sha256(kept)), ("ink", None)):
        recipe = RECIPE.but(references=[{"name": name, "sha256": sha256}])
        assert locate_files(recipe, [tmp_path]).references[0].name == str(kept)
    with pytest.raises(JobError, match="another file"):
        locate_files(RECIPE.but(references=[{"name": "ink", "sha256": "0" * 64}]), [tmp_path])
    kept.unlink()


def test_pictures_are_compared_by_size_pixels_and_circumstances():
    black, white = Image.new("RGB", (8, 4)), Image.new("RGB", (8, 4), "white")
    assert str(compared(black, black, RECIPE, RECIPE)) == "bit-identical"
    assert str(compared(black, white, RECIPE, RECIPE)) == "32 of 32 pixels differ, by 255 of 255 at most"
    wide = compared(black, Image.new("RGB", (9, 4)), RECIPE, RECIPE.but(scheduler="EulerDiscreteScheduler"))
    assert str(wide) == (
        "it was 8×4 pixels, and is 9×4; scheduler DDIMScheduler then, EulerDiscreteScheduler now"
    )
    assert not wide.identical
