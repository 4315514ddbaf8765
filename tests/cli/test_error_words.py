"""Messages about recipes name the options of a command, where they have other names than fields."""

import warnings
from pathlib import Path
from typing import Any, cast

import pytest
import typer

from instantstyle.cli import app
from instantstyle.cli.error_words import name_options, reword_messages
from instantstyle.cli.recipe_options import RECIPE_OPTIONS
from instantstyle.errors import JobError, RequestWarning
from instantstyle.recipe import FIELD_ALIASES, Recipe

from .test_generate import ink  # noqa: F401


def test_fields_are_named_by_their_options_and_words_stay_words():
    names = [*RECIPE_OPTIONS]
    for message, expected in (
        ("num_inference_steps is 0", "--steps is 0"),
        ("num_inference_steps (--steps) is 2", "num_inference_steps (--steps) is 2"),
        ("add content, or content_references.", "add content, or --content-image."),
        ("its guidance is guidance_scale", "its guidance is --guidance"),
        ("references need a weight; scale and content_scale", "references need a weight; scale and content_scale"),
        ("pseudo_guidance_scale", "pseudo_guidance_scale"),
    ):
        assert name_options(message, names) == expected
        assert name_options(message, []) == message


def test_every_alias_is_an_option_of_the_field_that_it_names():
    assert {
        name: name in RECIPE_OPTIONS and field in Recipe.model_fields for name, field in FIELD_ALIASES.items()
    } == (dict.fromkeys(FIELD_ALIASES, True))


def test_every_alias_is_named_by_a_flag_that_its_command_takes():
    flags = {
        flag
        for command in cast(Any, typer.main.get_command(app)).commands.values()
        for option in command.params
        for flag in option.opts
    }
    named = {field: name_options(field, [*RECIPE_OPTIONS]) for field in FIELD_ALIASES.values() if "_" in field}
    assert {field: flag for field, flag in named.items() if flag not in flags} == {}
    assert named["texture_references"] == "--texture-from"


def test_errors_keep_their_class_and_warnings_of_libraries_their_text():
    with pytest.raises(JobError, match=r"^A$") as caught, reword_messages(str.upper):
        raise JobError("a")
    assert isinstance(caught.value.__cause__, JobError)
    with pytest.raises(ValueError, match=r"^a$"), reword_messages(str.upper):
        raise ValueError("a")
    shown = warnings.showwarning
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        with reword_messages(str.upper):
            warnings.warn("a", RequestWarning, stacklevel=1)
            warnings.warn("b", UserWarning, stacklevel=1)
    assert [str(each.message) for each in found] == ["A", "b"]
    assert warnings.showwarning is shown


def test_a_command_names_its_options(run, ink):  # noqa: F811
    short = ("--steps", 1, "--width", 64, "--height", 64, "-o", "out.png", "--force")
    done = run("generate", "a", "--style", "ink.png", "--content-scale", 2, *short)
    assert (done.code, "add content, or --content-image." in done.err) == (2, True)
    done = run("generate", "a", "--true-guidance", 3, *short)
    assert "--true-guidance is for diffusion transformers" in done.err
    assert "whose guidance is --guidance; leave it out." in done.err
    done = run("generate", "a", "--negative", "b", "--guidance", 1, *short)
    assert (done.code, "warning: --negative has no effect without guidance" in done.err) == (0, True)
    # Rows have fields.
    Path("jobs.jsonl").write_text('{"prompt": "a", "seed": 1, "style": "ink.png", "content_scale": 2}')
    done = run("batch", "jobs.jsonl", "--out", "out")
    assert (done.code, "or content_references." in done.err) == (2, True)
