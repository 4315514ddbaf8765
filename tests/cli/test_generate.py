"""`instantstyle generate`: images with their recipe, and errors before the model is loaded."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from instantstyle.imaging.a1111 import format_a1111
from instantstyle.imaging.png_metadata import read_recipe

from ..imaging.test_loading import bomb, cut

SHORT = ("--steps", 2, "--height", 16, "--width", 16, "--seed", 7)


@pytest.fixture
def ink(tmp_path, reference):
    reference.save(tmp_path / "ink.png")
    return tmp_path / "ink.png"


@pytest.fixture
def generate(run, model, ink):
    def command(*words: object):
        return run("generate", "a rocket", "--model", model, *SHORT, *words)

    return command


def pixels(path) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


def test_an_image_is_written_and_its_path_printed(generate, tmp_path):
    done = generate("--style", "ink.png", "-o", "out.png")
    assert (done.code, done.out, done.err) == (0, "out.png\n", "")
    assert sorted(os.listdir(tmp_path)) == ["ink.png", "out.png"]


def test_the_image_carries_its_complete_recipe(generate, model):
    generate("--style", "ink.png", "--content", "a cat", "--negative", "blurry", "-o", "out.png")
    recipe = read_recipe("out.png")
    assert (recipe.prompt, recipe.negative_prompt, recipe.content) == ("a rocket", "blurry", ("a cat",))
    assert (recipe.seed, recipe.num_inference_steps, recipe.height, recipe.width) == (7, 2, 16, 16)
    assert (recipe.model, recipe.scheduler, recipe.blocks) == (str(model), "DDIMScheduler", "style")
    assert recipe.references[0].sha256 is not None
    assert None not in (recipe.guidance_scale, recipe.content_scale)
    assert {"instantstyle", "torch", "diffusers"} <= set(recipe.versions)


def test_an_automatic_content_scale_is_printed_and_reproduces_the_image(generate):
    words = ("--style", "ink.png", "--content", "a cat", "--content-scale")
    done = generate(*words, "auto", "-n", 2, "-o", "out.png")
    scale = read_recipe("out-7.png").content_scale
    assert isinstance(scale, float)
    assert done.err == f"content scale: {scale:g}, chosen by auto\n"
    generate(*words, scale, "-o", "again.png")
    assert pixels("again.png") == pixels("out-7.png")


def test_a_content_scale_is_a_number_or_auto(generate):
    done = generate("--style", "ink.png", "--content", "a cat", "--content-scale", "lots")
    assert done.code != 0
    assert "'lots' is neither a number nor auto" in done.err


@pytest.mark.parametrize("words", [("mask", "--content", "a cat"), ("clean",)])
def test_the_recipe_holds_the_removal_and_its_default_scale(generate, words):
    assert generate("--style", "ink.png", "--removal", *words, "-o", "out.png").code == 0
    generate("--style", "ink.png", "-o", "plain.png")
    recipe = read_recipe("out.png")
    assert (recipe.removal, recipe.content_scale) == (words[0], 1.0)
    assert pixels("out.png") != pixels("plain.png")


def test_several_images_are_named_by_their_seeds(generate):
    done = generate("--style", "ink.png", "-n", 3, "-o", "out.png")
    assert done.out.split() == ["out-7.png", "out-8.png", "out-9.png"]
    assert [read_recipe(path).seed for path in done.out.split()] == [7, 8, 9]
    assert len({pixels(path) for path in done.out.split()}) == 3


def test_an_image_of_several_equals_the_same_image_alone(generate):
    generate("--style", "ink.png", "-n", 2, "-o", "out.png")
    generate("--style", "ink.png", "--seed", 8, "-o", "alone.png")
    assert pixels("alone.png") == pixels("out-8.png")


def test_by_default_an_image_is_named_by_prompt_and_seed(generate):
    assert generate().out == "a-rocket-7.png\n"


def test_a_reference_changes_the_image_unless_its_scale_is_zero(generate):
    generate("-o", "plain.png")
    generate("-o", "styled.png", "--style", "ink.png")
    generate("-o", "zero.png", "--style", "ink.png", "--scale", 0)
    assert pixels("plain.png") == pixels("zero.png") != pixels("styled.png")


def test_several_references_are_mixed(generate, tmp_path):
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    assert generate("--style", "ink.png", "--style", "teal.png", "-o", "out.png").code == 0
    assert [reference.name for reference in read_recipe("out.png").references] == ["ink.png", "teal.png"]


def test_verbose_prints_how_a_reference_is_made_square(generate):
    err = generate("--style", "ink.png", "--crop", "pad", "--verbose", "-o", "out.png").err
    assert "ink.png: 112×80, made square by --crop pad" in err
    assert "up_blocks.0.attentions.1" in err


def test_a_progress_bar_is_shown_on_a_terminal_only(generate, monkeypatch):
    assert generate("-o", "a.png").err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert generate("-o", "b.png").code == 0


@pytest.mark.slow
def test_in_a_pipe_only_paths_are_printed(model, ink):
    code = "from instantstyle.cli import main; main()"
    words = ("generate", "a rocket", "--model", model, *SHORT, "--style", ink, "-o", ink.with_name("out.png"))
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{ink.with_name('out.png')}\n", "")


def refused(done) -> str:
    """Return the single line on stderr of a command that exited with 2 and printed nothing on stdout."""
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    return done.err


BAD_REFERENCES = {
    "missing": (lambda folder: folder / "nowhere.png", "does not exist"),
    "a folder": (lambda folder: folder, "is a folder"),
    "cut short": (lambda folder: cut(folder, "half.png"), "damaged or cut short"),
    "a bomb": (lambda folder: bomb(folder / "bomb.png", 60_000, 60_000), "128 megapixels"),
}


@pytest.mark.parametrize("name", BAD_REFERENCES)
def test_an_unreadable_reference_is_refused_and_nothing_is_written(generate, tmp_path, name):
    make, reason = BAD_REFERENCES[name]
    path = make(tmp_path)
    before = sorted(os.listdir(tmp_path))
    assert reason in refused(generate("--style", path, "-o", "out.png"))
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--style", "ink.png", "--blocks", "up_blocks.0.attentions.7"), "up_blocks.0.attentions.0–2"),
        (("--style", "ink.png", "--blocks", "stile"), "Did you mean style?"),
        (("--style", "ink.png", "--crop", "centre"), "'center', 'pad' or 'squash'"),
        (("--style", "ink.png", "--removal", "divide"), "'subtract', 'project', 'mask', 'clean' or 'cleanstyle'"),
        (("--style", "ink.png", "--removal", "clean", "--content", "a cat"), "reads no words"),
        (("--style", "ink.png", "--content-scale", "-1"), "content_scale is -1"),
        (("--style", "ink.png", "--content-scale", "auto"), "can only act on content to remove"),
        (("--scale", "nan"), "scale is nan"),
        (("--steps", 0), "--steps is 0"),
        (("--seed", -1), "seed is -1"),
        (("--height", 17), "multiple of 8"),
        (("--content", "a cat"), "add a reference image"),
        (("-o", "out.gif"), "should end in .png, .jpg or .webp"),
        (("-o", "ink.png/out.png"), "ink.png is not a folder"),
        (("--model", "minni"), "Did you mean mini?"),
        (("--adapter", "nowhere.safetensors"), "nowhere.safetensors"),
        (("--image-encoder", "nowhere"), "nowhere"),
        (("--device", "abacus"), "abacus"),
    ],
)
def test_an_invalid_option_is_refused_in_one_line(generate, tmp_path, words, reason):
    assert reason in refused(generate(*words))
    assert os.listdir(tmp_path) == ["ink.png"]


def test_an_unknown_option_exits_with_2_and_suggests_the_nearest(generate):
    done = generate("--stile", "ink.png")
    assert done.code == 2
    assert "--style" in done.err


def test_an_existing_file_is_overwritten_only_with_force(generate, tmp_path):
    (tmp_path / "out.png").write_bytes(b"precious")
    assert "exists already" in refused(generate("-o", "out.png"))
    assert (tmp_path / "out.png").read_bytes() == b"precious"
    assert generate("-o", "out.png", "--force").code == 0
    assert read_recipe("out.png").seed == 7


def test_one_existing_file_of_several_stops_all_before_generating(generate, tmp_path):
    (tmp_path / "out-8.png").touch()
    assert "out-8.png exists already" in refused(generate("-n", 3, "-o", "out.png"))
    assert not (tmp_path / "out-7.png").exists()


def test_invalid_blocks_are_refused_without_loading_the_model(run, ink):
    done = run("generate", "a rocket", "--model", "sdxl", "--style", ink, "--blocks", "up_blocks.7.attentions.0")
    assert "SDXL has no block up_blocks.7.attentions.0" in refused(done)


def test_mask_interval_layout_and_negative_style_are_in_the_recipe(generate, tmp_path):
    Image.new("L", (9, 5), 255).save(tmp_path / "mask.png")
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    limits = ("--mask", "mask.png", "--start", 0.2, "--end", 0.9)
    others = ("--layout", "teal.png", "--negative-style", "teal.png")
    done = generate("--style", "ink.png", *limits, *others, "-o", "out.png")
    assert (done.code, done.err) == (0, "")
    recipe = read_recipe("out.png")
    assert (recipe.start, recipe.end) == (0.2, 0.9)
    files = recipe.mask, *recipe.layout_references, *recipe.negative_references
    assert [file and file.name for file in files] == ["mask.png", "teal.png", "teal.png"]


@pytest.mark.parametrize(
    "words",
    [
        ("--mask", "black.png"),
        ("--start", 1.0),
        ("--end", 0.0),
    ],
)
def test_a_style_without_area_or_steps_changes_nothing(generate, tmp_path, words):
    Image.new("L", (9, 5)).save(tmp_path / "black.png")
    generate("-o", "plain.png")
    generate("--style", "ink.png", *words, "-o", "out.png")
    assert pixels("out.png") == pixels("plain.png")


@pytest.mark.parametrize(
    "words",
    [
        ("--layout", "teal.png"),
        ("--negative-style", "teal.png"),
        ("--combine", "concat", "--style", "teal.png"),
        ("--style", "teal.png", "--weight", 0.9, "--weight", 0.1),
    ],
)
def test_every_further_reference_changes_the_image(generate, tmp_path, words):
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "teal.png")
    generate("--style", "ink.png", "-o", "alone.png")
    assert generate("--style", "ink.png", *words, "-o", "both.png").code == 0
    assert pixels("both.png") != pixels("alone.png")


def test_a_layout_reference_works_without_a_style(generate):
    generate("-o", "plain.png")
    assert generate("--layout", "ink.png", "-o", "out.png").code == 0
    assert pixels("out.png") != pixels("plain.png")


def test_a_guidance_interval_changes_the_image_and_is_in_the_recipe(generate):
    generate("-o", "throughout.png")
    generate("-o", "whole.png", "--guidance-interval", "0:1")
    assert generate("-o", "part.png", "--guidance-interval", "0.5:1").code == 0
    assert read_recipe("part.png").guidance_interval == (0.5, 1.0)
    assert read_recipe("throughout.png").guidance_interval is None
    assert "CFG interval: 0.5-1" in format_a1111(read_recipe("part.png"))
    assert pixels("whole.png") == pixels("throughout.png") != pixels("part.png")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--guidance-interval", "0.8:0.2"), "guidance_interval is ['0.8', '0.2'], should begin no later"),
        (("--guidance-interval", "half"), "guidance_interval is ['half'], should be two numbers, such as 0.2 and 0.8"),
        (("--guidance-interval", "0.5"), "guidance_interval is ['0.5'], should be two numbers, such as 0.2 and 0.8"),
        (("--style", "ink.png", "--weight", 1, "--weight", 2), "2 --weight for 1 --style"),
        (("--style", "ink.png", "--start", 0.9, "--end", 0.1), "begin at 0.9 of the steps and end at 0.1"),
        (("--style", "ink.png", "--mask", "nowhere.png"), "nowhere.png does not exist"),
        (("--style", "ink.png", "--combine", "median"), "'average', 'concat' or 'subtract'"),
        (("--negative-style", "ink.png"), "add a reference image"),
        (("--mask", "ink.png"), "mask can only act on the style of a reference"),
        (("--start", 0.5), "start can only act on the style of a reference"),
        (("--scale", 0.5, "--blocks", "all"), "blocks and scale can only act on the style of a reference"),
        (("--style", "ink.png", "--weight", 0), "references need a weight above 0"),
        (("--style", "ink.png", "--content", "   "), "should have words, not only white space"),
        (("-n", 3, "--seed", 2**63 - 2), "each of 3 images has the next one"),
    ],
)
def test_invalid_combinations_are_refused(generate, words, reason):
    assert reason in refused(generate(*words, "-o", "out.png"))


@pytest.mark.slow
def test_a_size_far_from_that_of_the_model_is_warned_of(run):
    words = ("generate", "a rocket", "--steps", 1, "--seed", 7, "--device", "cpu", "--force")
    err = run(*words, "-o", "large.png", "--width", 256, "--height", 256).err
    assert "warning: The model was trained on images of 128×128 px; of 256×256 px they are likely" in err
    assert "64×64 px" in run(*words, "-o", "small.png", "--width", 64, "--height", 64).err
    for size in ((), ("--width", 128), ("--width", 160, "--height", 96)):
        assert run(*words, "-o", "same.png", *size).err == ""


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_an_image_in_another_format_is_reproduced_from_its_recipe(generate, run, suffix):
    assert generate("--style", "ink.png", "-o", f"out.{suffix}").code == 0
    generate("--style", "ink.png", "-o", "out.png")
    assert read_recipe(f"out.{suffix}") == read_recipe("out.png")
    assert run("recipe", f"out.{suffix}").out == run("recipe", "out.png").out
    done = run("reproduce", f"out.{suffix}")
    assert (done.code, done.out) == (0, "bit-identical\n")


def test_a_jpeg_of_other_pixels_is_not_reproduced(generate, run):
    generate("--style", "ink.png", "-o", "out.jpg")
    with Image.open("out.jpg") as image:
        Image.new("RGB", image.size, "teal").save("out.jpg", quality=95, xmp=image.info["xmp"])
    done = run("reproduce", "out.jpg")
    assert done.code == 1
    assert "pixels differ" in done.out


def test_missing_folders_of_the_output_are_made(generate):
    assert generate("-o", "new/folder/out.png").out == "new/folder/out.png\n"
    assert read_recipe("new/folder/out.png").seed == 7


def test_several_references_after_one_flag_are_explained(generate):
    done = generate("--style", "ink.png", "two words.png", "-o", "out.png")
    assert done.code == 2
    assert 'Repeat --style for each value: --style ink.png --style "two words.png"' in " ".join(
        done.err.replace("│", " ").split()
    )


def test_weights_of_blocks_on_the_command_line_are_explained(generate):
    err = refused(generate("--style", "ink.png", "--blocks", "style=0.5", "-o", "out.png"))
    assert 'weights are a mapping, in Python, recipes, manifests and requests: {"style": 0.5}' in err


def test_blocks_separated_by_commas_are_explained(generate):
    err = refused(generate("--style", "ink.png", "--blocks", "style,layout", "-o", "out.png"))
    assert "join several by +, as style+layout" in err
