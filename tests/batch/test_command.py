"""The command `instantstyle batch`."""

import errno
import inspect
import os
import sys

import pytest

from instantstyle.batch import Ledger
from instantstyle.cli import app
from instantstyle.imaging.png_metadata import read_recipe

from .conftest import read_files

SHORT = ("--steps", 2, "--height", 16, "--width", 16)


@pytest.fixture
def batch(run, model, reference, tmp_path):
    reference.save(tmp_path / "ink.png")

    def command(*words: object):
        return run("batch", *words, "--model", model, *SHORT, "--out", "out")

    return command


def test_a_manifest_is_generated_with_progress_lines(batch, tmp_path):
    (tmp_path / "jobs.csv").write_text("prompt,seed\na rocket,1\na crown,2\n")
    done = batch("jobs.csv", "--style", "ink.png", "--report")
    assert (done.code, done.out) == (0, "out/index.html\n")
    assert "2/2 a-crown-2-" in done.err
    assert "2 of 2 images are in out, 0 failed" in done.err
    recipes = [read_recipe(path) for path in sorted((tmp_path / "out").glob("a-*.png"))]
    assert [(recipe.prompt, recipe.seed) for recipe in recipes] == [("a crown", 2), ("a rocket", 1)]
    assert [recipe.references[0].name for recipe in recipes] == ["ink.png", "ink.png"]


def test_options_of_generate_apply_to_rows(batch, tmp_path, reference):
    for name in ("plan", "neon", "mask"):
        reference.rotate(len(name) * 30).save(tmp_path / f"{name}.png")
    (tmp_path / "jobs.csv").write_text("prompt,start\na rocket,\na crown,0.3\n")
    words = {
        "--style": "ink.png",
        "--combine": "subtract",
        "--layout": "plan.png",
        "--negative-style": "neon.png",
        "--mask": "mask.png",
        "--start": 0.1,
        "--end": 0.9,
        "--crop": "pad",
        "--blocks": "all",
        "--scale": 0.7,
        "--content": "a cat",
        "--removal": "project",
        "--negative": "blurred",
        "--guidance": 3.5,
        "--guidance-interval": "0.2:0.8",
        "--seed": 7,
    }
    several = ("--style", "plan.png")
    done = batch("jobs.csv", *(part for word in words.items() for part in word), *several)
    assert done.code == 0, done.err
    crown, rocket = (read_recipe(path) for path in sorted((tmp_path / "out").glob("a-*.png")))
    assert (rocket.start, crown.start) == (0.1, 0.3)
    assert (rocket.combine, rocket.crop, rocket.end, rocket.scale) == ("subtract", "pad", 0.9, 0.7)
    files = [file.name for file in rocket.files()]
    assert files == ["ink.png", "plan.png", "plan.png", "neon.png", "mask.png"]
    assert (rocket.content, rocket.removal, rocket.negative_prompt) == (("a cat",), "project", "blurred")
    assert (rocket.guidance_scale, rocket.guidance_interval, rocket.seed) == (3.5, (0.2, 0.8), 7)


def test_batch_has_every_option_of_generate():
    def options(verb):
        [command] = [command for command in app.registered_commands if command.name == verb]
        assert command.callback
        return set(inspect.signature(command.callback).parameters)

    # Options that concern a single image: its prompt, its output and its messages.
    single = {"prompt", "number", "force", "plan", "verbose"}
    assert options("generate") - options("batch") == single


def test_a_cross_product_has_no_duplicates_and_a_terminal_shows_a_bar(batch, tmp_path, monkeypatch):
    (tmp_path / "prompts.txt").write_text("a rocket\na rocket\n")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    done = batch("--styles", "ink.png", "--prompts", "prompts.txt", "--seeds", "1:2")
    assert (done.code, done.out) == (0, "out\n")
    assert "2 of 4 rows repeat others and are generated once" in done.err
    assert len(read_files(tmp_path / "out")) == 2


def test_a_size_far_from_that_of_the_model_is_warned_of_once(run, model, tmp_path):
    (tmp_path / "jobs.csv").write_text("prompt,height\na rocket,64\na crown,64\na cat,16\n")
    done = run("batch", "jobs.csv", "--model", model, "--steps", 1, "--width", 16, "--out", "out")
    assert done.code == 0
    assert done.err.count("warning: The model was trained on images of 16×16 px; of 16×64 px") == 1
    assert done.err.count("warning:") == 1


def test_invalid_rows_are_listed_and_nothing_is_generated(batch, tmp_path):
    (tmp_path / "jobs.csv").write_text("prompt,seed\na rocket,-1\na crown,2\na cat,x\n")
    done = batch("jobs.csv")
    assert (done.code, done.out) == (2, "")
    first, second, summary = done.err.splitlines()
    assert first.startswith("line 2: Recipe is invalid: seed is '-1'")
    assert second.startswith("line 4: Recipe is invalid: seed is 'x'")
    assert summary == "instantstyle: jobs.csv: 2 of 3 rows are invalid; no image was generated."
    assert not (tmp_path / "out").exists()


def test_a_failed_row_gives_exit_code_one_until_it_is_repeated(batch, tmp_path, monkeypatch):
    (tmp_path / "jobs.csv").write_text("prompt\na rocket\na crown\n")
    with monkeypatch.context() as patch:
        patch.setattr("instantstyle.core.pipeline.check_output", _fail_second_image())
        done = batch("jobs.csv")
    assert done.code == 1
    assert "failed, line 3: ValueError: no crowns today" in done.err
    assert "1 of 2 images are in out, 1 failed" in done.err
    left = batch("jobs.csv")
    assert left.code == 1
    assert "1 failed before; --retry-failed tries them again" in left.err
    assert batch("jobs.csv", "--retry-failed").code == 0


def test_a_row_that_still_waits_gives_exit_code_one(batch, tmp_path, monkeypatch):
    (tmp_path / "jobs.csv").write_text("prompt\na rocket\na crown\n")

    def damage_first_image(*_):
        for path in (tmp_path / "out").glob("a-rocket*.png"):
            path.write_bytes(path.read_bytes()[:-20])

    with monkeypatch.context() as patch:
        patch.setattr("instantstyle.core.pipeline.check_output", damage_first_image)
        done = batch("jobs.csv")
    assert done.code == 1
    assert "1 of 2 images are in out, 0 failed, 1 wait for the next run" in done.err
    done = batch("jobs.csv")
    assert done.code == 0
    assert "2 of 2 images are in out, 0 failed" in done.err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_cannot_be_written_is_not_another_run(batch, tmp_path, monkeypatch, number):
    (tmp_path / "jobs.csv").write_text("prompt\na rocket\n")

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("instantstyle.batch.ledger.write_png", refuse)
    done = batch("jobs.csv")
    assert done.code == 2
    assert os.strerror(number) in done.err
    assert "another" not in done.err


def test_a_second_run_into_the_folder_is_refused(batch, tmp_path):
    (tmp_path / "jobs.csv").write_text("prompt\na rocket\n")
    with Ledger.open(tmp_path / "out"):
        done = batch("jobs.csv")
    assert done.code == 2
    assert "out is in use by another run" in done.err


@pytest.mark.parametrize("words", [(), ("jobs.csv", "--prompts", "a"), ("jobs.csv", "--seeds", "1:2")])
def test_either_a_manifest_or_a_cross_product_is_required(batch, words):
    done = batch(*words)
    assert done.code == 2
    assert "give one of them" in done.err


@pytest.mark.parametrize("verb", ["batch", "reproduce"])
def test_the_commands_have_help(run, verb):
    assert "Usage" in run(verb, "--help").out


def _fail_second_image():
    """Return a check that raises for the second image of a run."""
    calls = []

    def check(*_):
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("no crowns today")

    return check


@pytest.mark.parametrize(
    ("package", "words", "message"),
    [
        (
            "ray",
            ("--backend", "ray"),
            "--backend ray needs Ray, which is not installed: pip install 'instantstyle[ray]'",
        ),
        ("s3fs", ("--out", "s3://bucket"), "s3:// needs s3fs, which is not installed: pip install s3fs"),
    ],
)
def test_a_package_that_is_not_installed_is_named_before_the_rows_are_read(run, monkeypatch, package, words, message):
    monkeypatch.setitem(sys.modules, package, None)
    done = run("batch", "nowhere.csv", *words)
    assert (done.code, message in done.err) == (2, True)


def test_edges_without_opencv_are_refused_with_the_rows_that_need_them(run, monkeypatch, reference, tmp_path):
    reference.save(tmp_path / "ink.png")
    (tmp_path / "jobs.jsonl").write_text('{"prompt": "a", "seed": 1, "image": "ink.png", "control": "canny"}\n')
    monkeypatch.setitem(sys.modules, "cv2", None)
    done = run("batch", "jobs.jsonl", "--model", "sd15", "--out", "out")
    assert (done.code, "line 1: control canny detects edges with OpenCV, which is not installed" in done.err) == (
        2,
        True,
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("flag", "value"), [("--styles", "ink.png"), ("--seeds", "1:3")])
def test_prompts_that_are_missing_are_asked_for(run, flag, value):
    done = run("batch", flag, value)
    assert (done.code, done.err) == (2, f"instantstyle: There are no prompts for {flag}; add --prompts.\n")
