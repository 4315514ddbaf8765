"""Help, version, completion, and JSON for other programs."""

import json
import os
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer

from instantstyle import __version__
from instantstyle.batch.backends.local import GPU_BATCH_SIZE
from instantstyle.cli import app
from instantstyle.evaluation.arms import ARMS, GROUPS

COMMAND: Any = typer.main.get_command(app)
VERBS = {
    **{name: verb for name, verb in COMMAND.commands.items() if name != "styles"},
    **{f"styles {name}": verb for name, verb in COMMAND.commands["styles"].commands.items()},
}


def test_the_short_flag_prints_the_help_of_every_verb(run):
    for words in ("", *VERBS):
        short, long = run(*words.split(), "-h"), run(*words.split(), "--help")
        assert (short.code, short.out) == (0, long.out)
        assert "Example" in short.out, words


def test_every_example_can_be_parsed_by_its_verb():
    for name, verb in VERBS.items():
        lines = [line.strip() for line in verb.epilog.split("\n\n")[1:]]
        assert any(line.startswith(f"instantstyle {name}") for line in lines), name
        for line in lines:
            words = shlex.split(line)[1:]
            used = next(each for each in sorted(VERBS, key=len, reverse=True) if line[13:].startswith(each))
            VERBS[used].make_context(used, words[len(used.split()) :])


def test_every_option_is_in_a_group_and_explained():
    wrong = [
        f"{name} {param.opts[0]}"
        for name, verb in VERBS.items()
        for param in verb.params
        if param.param_type_name == "option" and not (getattr(param, "rich_help_panel", None) and param.help)
    ]
    assert wrong == []


def test_help_names_only_options_of_its_own_verb():
    wrong = {
        f"{name} {param.name} {flag}"
        for name, verb in VERBS.items()
        for param in verb.params
        for flag in re.findall(r"--[a-z][a-z-]*", getattr(param, "help", None) or "")
        if flag not in {known for each in verb.params for known in (*each.opts, *each.secondary_opts)}
    }
    assert wrong == set()


def test_help_says_what_defaults_depend_on_and_what_values_there_are():
    texts = {(name, param.name): param.help for name, verb in VERBS.items() for param in verb.params if param.name}
    assert "By default 1, with --keep-content 1.2" in texts["restyle", "scale"]
    assert f"1 on a CPU, {GPU_BATCH_SIZE} on a GPU" in texts["batch", "batch"]
    arms = texts["evaluate", "arms"]
    missing = [
        word for word in (*ARMS, *GROUPS, "all-subtract", "precise-style") if not re.search(re.escape(word), arms)
    ]
    assert missing == []
    assert all("style" in texts["evaluate", name] for name in ("clip", "dino", "csd"))


def test_the_version_is_printed_by_flag_and_verb(run):
    assert run("--version").out == f"instantstyle {__version__}\n"
    assert json.loads(run("version", "--json").out)["instantstyle"] == __version__


def test_completion_is_offered_for_verbs_and_options():
    words = {"_INSTANTSTYLE_COMPLETE": "complete_bash", "COMP_WORDS": "instantstyle gene", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", "from instantstyle.cli import main; main()"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **words})
    assert "generate" in done.stdout.split()


def test_blocks_are_printed_as_json(run):
    found = json.loads(run("blocks", "sdxl", "--json").out)
    assert found["roles"]["style"] == ["up_blocks.0.attentions.1"]
    assert len(found["blocks"]) == 11
    assert json.loads(run("blocks", "sdxl-turbo", "--json").out) == found


def test_models_are_printed_as_json(run):
    models = {entry["name"]: entry for entry in json.loads(run("models", "--json").out)}
    assert models["mini"]["here"] is True
    assert models["mini"]["defaults"] == {"num_inference_steps": 4, "guidance_scale": 1.0}
    assert models["sdxl"]["architecture"] == "sdxl"


def test_styles_are_printed_as_json(run, library):
    assert json.loads(run("styles", "list", "--json").out) == []
    library.mkdir(parents=True, exist_ok=True)
    (library / "broken.style.safetensors").write_bytes(b"no")
    [entry] = json.loads(run("styles", "list", "--json").out)
    assert (entry["name"], entry["num_bytes"]) == ("broken", 2)
    assert "not a complete style file" in entry["error"]
    (library / "broken.style.safetensors").unlink()


def test_words_lists_what_mini_knows(run):
    words = json.loads(run("words", "--json").out)
    assert len(words["things"]) == 132
    assert {"rocket", "snowflake"} <= set(words["things"])
    assert "… on the left" in words["places"]
    assert {"hatched", "stained glass"} <= set(words["fills"])
    assert {"neon outline"} <= set(words["outlines"])
    assert {"teal", "black"} <= set(words["colours"])
    out = run("words").out
    assert "things (132): rocket, cat," in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize(
    "words",
    [
        ("mix", "ink.png=0.5", "b=1", "-o", "x.style.safetensors"),
        ("styles", "add", "ink.png"),
        ("styles", "show", "ink.png"),
    ],
)
def test_an_image_in_the_place_of_a_style_file_is_explained(run, reference, tmp_path, words):
    reference.save(tmp_path / "ink.png")
    done = run(*words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "ink.png is an image and not a saved style" in done.err
    assert "`instantstyle style ink.png` writes ink.style.safetensors" in done.err


@pytest.mark.parametrize(
    ("axis", "nearest"), [("stepz=1,2", "steps"), ("step=1,2", "steps"), ("guidence=1,2", "guidance")]
)
def test_hints_know_the_short_names_of_fields(run, axis, nearest):
    err = run("sweep", "a rocket", "--x", axis).err
    assert f"Did you mean {nearest}?" in err
    assert "a sweep can vary prompt, negative, style, combine, texture, colour_scale, texture_scale, layout" in err
